"""The page that shows the routes, and lets them be tried: the only one that is shown in a browser as a page."""

import re
from base64 import b64encode
from hashlib import sha256

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import Response

router = APIRouter()

_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_FROM = "https://cdn.jsdelivr.net"
"""Where the page has its script and its style sheet from."""


@router.get("/docs", include_in_schema=False)
async def show_docs(request: Request) -> Response:
    """Show the contract; what the page may load and run is named, and everything else is refused."""
    page = get_swagger_ui_html(
        openapi_url="./openapi.json", title=f"{request.app.title}: routes", swagger_favicon_url="data:,"
    )
    body = bytes(page.body)
    scripts = " ".join(f"'sha256-{b64encode(sha256(script).digest()).decode()}'" for script in _SCRIPT.findall(body))
    policy = (
        f"default-src 'none'; script-src {_FROM} {scripts}; style-src {_FROM} 'unsafe-inline'; img-src data: {_FROM}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Response(body, media_type="text/html", headers={"Content-Security-Policy": policy})
