"""Documents that never end: all together take no more memory than the gateway has for them."""

import contextlib

from tests.edge.s3.conftest import Clients
from tests.edge.s3.parts import BUCKET, Presigned
from tests.edge.s3.signed import error_of
from tests.edge.wire import Wire, head, which_speaks
from valetstore.edge.document import HELD_BYTES_MAX
from valetstore.edge.s3.multipart_complete import MANIFEST_BYTES_MAX


def test_completes_that_do_not_end_leave_room_for_those_of_others(s3: Clients) -> None:
    upload = Presigned(s3.gate, s3(), "endless")
    upload.begin(upload.create())
    upload.part(1, b"whole")
    target = upload.url("complete_multipart_upload").removeprefix(s3.gate.base)
    host = s3.gate.base.removeprefix("http://")
    asked = head("POST", target, f"Content-Length: {MANIFEST_BYTES_MAX}", host=host)
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(s3.gate.address)) for _ in range(HELD_BYTES_MAX // MANIFEST_BYTES_MAX + 1)]
        for wire in wires:
            wire.send(asked)
            wire.pour(b" " * (MANIFEST_BYTES_MAX - 1))
        answer = which_speaks(wires).answer()
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "overloaded", "5")
        assert error_of(answer)["Code"] == "SlowDown"
        assert upload.complete().status == 200
    assert s3().get_object(Bucket=BUCKET, Key="endless")["Body"].read() == b"whole"
