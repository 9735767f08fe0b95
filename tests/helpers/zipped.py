"""Archives as a server holds them."""

import io
import zipfile


def zip_folder(folder, top=""):
    """Returns a zip of a folder's content, below a folder `top` if there is one."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in sorted(folder.rglob("*")):
            zipped.write(path, f"{top}{path.relative_to(folder).as_posix()}")
    return content.getvalue()
