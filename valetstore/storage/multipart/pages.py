"""A page of uploads: by their names' UTF-8 bytes and then by id, grouped by a delimiter where there is one."""

from collections.abc import Iterable

from valetstore.storage.uploads import Started, UploadsPage


def page_of(uploads: Iterable[Started], prefix: str, after: tuple[str, str], limit: int, delimiter: str) -> UploadsPage:
    """Up to `limit` rows and groups. `after` is a name and an id; without an id all uploads of the name are passed.

    Where the name is a group (it ends with its first delimiter after the prefix), so are all names in it.
    """
    passed = _group_of(after[0], prefix, delimiter)
    is_group_passed = bool(passed) and passed == after[0]
    rows: list[Started] = []
    prefixes: list[str] = []
    last = ("", "")
    for upload in sorted(uploads, key=lambda upload: (upload.name.encode(), upload.id)):
        if not upload.name.startswith(prefix) or not _follows(upload, after):
            continue
        group = _group_of(upload.name, prefix, delimiter)
        if group and ((prefixes and prefixes[-1] == group) or (is_group_passed and group == passed)):
            continue
        if len(rows) + len(prefixes) >= limit:
            return UploadsPage(rows, last if limit > 0 else None, prefixes)
        if group:
            prefixes.append(group)
            last = (group, "")
        else:
            rows.append(upload)
            last = (upload.name, upload.id)
    return UploadsPage(rows, None, prefixes)


def _group_of(name: str, prefix: str, delimiter: str) -> str:
    """The name up to the end of its first delimiter after the prefix; "" where it has none."""
    at = name.find(delimiter, len(prefix)) if delimiter and name.startswith(prefix) else -1
    return name[: at + len(delimiter)] if at >= 0 else ""


def _follows(upload: Started, after: tuple[str, str]) -> bool:
    name, upload_id = upload.name.encode(), after[1]
    if name == after[0].encode():
        return bool(upload_id) and upload.id > upload_id
    return name > after[0].encode()
