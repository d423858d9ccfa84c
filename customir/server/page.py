"""The search page: a handful of static files, which hold nothing of the corpus."""

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

# Only what this server sends is loaded, nothing inline is run, and no text becomes HTML.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
FOLDER = "static"
FILES = (
    "icon.svg", "style.css", "main.js", "address.js", "api.js", "conversation.js", "elements.js",
    "errors.js", "query.js", "results.js",
)  # fmt: skip
PATHS = {"/": "index.html"} | {f"/{FOLDER}/{name}": name for name in FILES}
MEDIA_TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}


def routes() -> list[Route]:
    """One route for each file. They need no token."""
    return [_route(path, name) for path, name in PATHS.items()]


def _route(path: str, name: str) -> Route:
    content = files("customir.server").joinpath(FOLDER, name).read_bytes()
    media_type = MEDIA_TYPES[name.rpartition(".")[2]]

    async def answer(request: Request) -> Response:
        headers = {"content-security-policy": POLICY}
        return Response(content, headers=headers, media_type=media_type)

    return Route(path, answer)
