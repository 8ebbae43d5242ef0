"""Block lists that never end: all together take no more memory than the gateway has for documents."""

import contextlib

from tests.edge.azure.blocks import commit, latest
from tests.edge.azure.conftest import Account, error_of
from tests.edge.wire import Wire, head, wait_until, which_speaks
from valetstore.edge.azure.block_list import LIST_BYTES_MAX
from valetstore.edge.document import HELD_BYTES_MAX

ROOM = HELD_BYTES_MAX // LIST_BYTES_MAX


def test_block_lists_that_do_not_end_leave_room_for_those_of_others(account: Account) -> None:
    target = account.at("endless", account.sas("endless"), comp="blocklist")
    asked = head("PUT", target, f"Content-Length: {LIST_BYTES_MAX}")
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(account.gate.address)) for _ in range(ROOM + 1)]
        for wire in wires:
            wire.send(asked)
            wire.pour(b" " * (LIST_BYTES_MAX - 1))
        answer = which_speaks(wires).answer()
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "overloaded", "5")
        assert error_of(answer)["Code"] == "ServerBusy"
        assert commit(account, "endless", latest()).status == 201
    long = b" " * LIST_BYTES_MAX
    wait_until(lambda: commit(account, "endless", long).status == 400)


def test_what_a_list_held_is_free_again_once_it_is_answered(account: Account) -> None:
    body = latest() + b" " * (LIST_BYTES_MAX - 200)
    for _ in range(ROOM + 1):
        assert commit(account, "again", body).status == 201
