"""FormPost: a browser's upload of one or several files into a container.

Rule 1: each file is an object as soon as it is whole, as Swift has it: one that is refused leaves those before it.
Rule 2: a form is one use of its key, however many files it has. The use is set aside before the first file, and spent
with the first that gets its name, durably before: what fails until then gives it back, and what fails later does not.
Rule 3: the same terms are held against each file: length, type, path, create-only, revocation.
"""

from functools import partial
from html import escape
from typing import Final

import msgspec

from valetstore.edge.call import Call
from valetstore.edge.exchange import FormFile, FormReader
from valetstore.edge.forms import redirect_to
from valetstore.edge.posted import FileSource
from valetstore.edge.replies import Reply
from valetstore.edge.served import described
from valetstore.edge.swift.heads import complete, conditions_of
from valetstore.edge.swift.voice import HTML, PLAIN, saying_of
from valetstore.edge.uploading import Incoming, refuse_early, take_in
from valetstore.encoding import UNSAFE_IN_HEADER
from valetstore.errors import Denied
from valetstore.grants.grant import Admission, Intent
from valetstore.grants.swift.formpost import ACTION, WORDS, Asked, ended, fields_of, invalid, read_form
from valetstore.objectkey import ObjectKey, split_path
from valetstore.policy.body import BodyRules
from valetstore.policy.request import enforce_content
from valetstore.storage.promise import MD5, Metadata

# Of the head of a form these would be the digests of all of it, not of a file.
_OF_THE_WHOLE: Final = (b"content-md5", b"content-digest")


async def post_form(call: Call) -> Reply:
    """All files of a form, one after the other. 201, or 303 to where the form leads, with what came of it."""
    form, asked = call.exchange.form, read_form(fields_of(call.inbound))
    if form is None:
        raise ended("no files to process")
    if asked.redirect and redirect_to(asked.redirect, {}) is None:
        raise invalid("redirect is not an http or https URL")
    try:
        await _Files(call, form, asked).take_in()
    except Denied as denied:
        if not asked.redirect:
            raise
        # The audit and the metrics hear of it all the same.
        call.exchange.failure = denied
        said = saying_of(denied, call.inbound)
        return _lead_on(asked.redirect, said.status, said.message.rpartition(f"{WORDS}: ")[2], denied)
    if asked.redirect:
        return _lead_on(asked.redirect, 201)
    return Reply(201, [PLAIN], b"201 Created")


class _Files:
    """The files of one form on their way in."""

    def __init__(self, call: Call, form: FormReader, asked: Asked) -> None:
        self._call = call
        self._form = form
        self._asked = asked
        self._conditions = conditions_of(call.inbound)
        inbound = call.inbound
        for name in _OF_THE_WHOLE:
            inbound = inbound.without_header(name)
        self._inbound = inbound
        self._use = call.admission.use

    async def take_in(self) -> None:
        """Take in all of them. Raises as `uploading.take_in`, of the first that is refused."""
        count = 0
        while (file := await self._form.next_file()) is not None:
            count += 1
            if count > self._asked.count_max:
                raise ended("max file count exceeded")
            await self._one(file)

    async def _one(self, file: FormFile) -> None:
        services = self._call.services
        metadata = self._metadata(file)
        admission = self._admitted(file, metadata)
        rules = BodyRules.of(admission, services.config.limits.upload_bytes_max)
        await refuse_early(services.store, admission, self._conditions)
        incoming = Incoming(
            FileSource(self._form),
            rules,
            partial(services.store.begin, admission, None, rules.hashes | {MD5}),
            lambda _digests, _trailers: complete(metadata, admission.key.name),
            self._conditions,
            admission.grant.create_only,
        )
        try:
            await take_in(services, self._call.exchange, admission, incoming, self._call.on_admitted)
        except Denied as denied:
            if denied.code == "too_large" and denied.evidence.get("size_max") == self._asked.size_max:
                raise denied.saying(WORDS, "FormPost: max_file_size exceeded", 400) from None
            raise
        # The use is spent: the files that follow are the same one.
        self._use = None

    def _admitted(self, file: FormFile, metadata: Metadata) -> Admission:
        """The form's admission on this file, which takes its use until that is spent."""
        bucket, beginning = split_path(self._call.admission.intent.path)
        key = ObjectKey.of(bucket, beginning + file.name)
        intent = Intent("write", key.path, key, content_type=metadata.content_type, action=ACTION)
        admission = self._call.services.gateway.extend(self._call.admission, intent)
        enforce_content(admission.grant, intent, admission.inbound)
        return msgspec.structs.replace(admission, inbound=self._inbound, use=self._use)

    def _metadata(self, file: FormFile) -> Metadata:
        """What the form says of all files wins over what a file's own part says, as in Swift."""
        content_type = _chosen(self._asked.content_type, file.content_type)
        coding = _chosen(self._asked.content_encoding, file.content_encoding)
        return described(content_type, {"content-encoding": coding} if coding else {}, {})


def _chosen(of_all: str | None, of_one: str | None) -> str | None:
    """The field, or the part's header where the form has none, as header text. Raises `parameter_invalid`."""
    text = of_one if of_all is None else of_all.encode().decode("latin-1")
    if text is not None and UNSAFE_IN_HEADER.search(text):
        raise invalid("a header of a file has a control character")
    return text


def _lead_on(url: str, status: int, message: str = "", denied: Denied | None = None) -> Reply:
    """Where the form leads, with what came of it in the query, as Swift's answer has it."""
    following = redirect_to(url, {"status": str(status), "message": message}) or url
    headers = [("Location", following), HTML] + ([("X-Valet-Error", denied.code)] if denied else [])
    page = f'<html><body><p><a href="{escape(following)}">Click to continue...</a></p></body></html>'
    return Reply(303, headers, page.encode())
