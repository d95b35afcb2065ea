"""Verifies the access tokens of an OAuth authorization server: JWTs, signed with a key that it publishes."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mcp.server.auth.provider import AccessToken

if TYPE_CHECKING:
    from jwt import PyJWKClient

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a key pair; nothing that a shared secret or nobody signs."""
_TIMEOUT = 10.0
_logger = logging.getLogger("qianda.mcp_servers")


class JWTVerifier:
    """Verifies tokens for one audience.

    Args:
        issuer: the authorization server.
        audience: this server's public address, for which tokens have to be made out.
    """

    def __init__(self, issuer: str, *, audience: str) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys: PyJWKClient | None = None

    async def verify_token(self, token: str) -> AccessToken | None:
        """What a token says, or None when it is not good."""
        import httpx2
        import jwt

        try:
            if self._keys is None:
                self._keys = jwt.PyJWKClient(await self._keys_address(), timeout=_TIMEOUT)
            key = await asyncio.to_thread(self._keys.get_signing_key_from_jwt, token)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._audience,
                issuer=self._issuer,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, httpx2.HTTPError, ValueError, KeyError) as error:
            _logger.warning("A token was refused: %s", error)
            return None
        scopes: object = claims.get("scope", "")
        return AccessToken(
            token=token,
            client_id=str(claims.get("client_id") or claims.get("azp") or claims.get("sub") or ""),
            scopes=scopes.split() if isinstance(scopes, str) else [],
            expires_at=int(claims["exp"]),
            resource=self._audience,
            subject=claims.get("sub"),
            claims=claims,
        )

    async def _keys_address(self) -> str:
        """Where the issuer publishes its keys, by its metadata (RFC 8414, else OpenID Connect)."""
        import httpx2

        parts = urlsplit(self._issuer)
        path = parts.path.rstrip("/")
        origin = f"{parts.scheme}://{parts.netloc}"
        places = (
            f"{origin}/.well-known/oauth-authorization-server{path}",
            f"{origin}{path}/.well-known/openid-configuration",
        )
        async with httpx2.AsyncClient(timeout=_TIMEOUT) as client:
            for place in places:
                answer = await client.get(place)
                if answer.is_success:
                    metadata: dict[str, Any] = answer.json()
                    if metadata.get("issuer") != self._issuer:
                        raise ValueError(f"{place} speaks for another issuer")
                    return str(metadata["jwks_uri"])
        raise ValueError(f"{self._issuer} publishes no metadata")
