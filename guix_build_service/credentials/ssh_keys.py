"""SSH's private keys, as people keep them: read, told apart, and signed with."""

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from guix_build_service.credentials.wire import string, whole_number
from guix_environment.errors import InvalidInput

LONGEST_KEY = 16 * 1024
"""Characters of a private key; one of RSA with 8192 bits has about half as many."""

LEAST_BITS = 2048
"""Of a key of RSA; shorter ones can be broken (NIST SP 800-131A)."""

_CURVES = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}
"""And what is signed with each (RFC 5656, 6.2.1)."""

_RSA = {2: (b"rsa-sha2-256", hashes.SHA256()), 4: (b"rsa-sha2-512", hashes.SHA512())}
"""By the flag with which an agent is asked for it (draft-ietf-sshm-ssh-agent, "Signature flags"); SHA-1 is none of them."""

_PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_MAKE_ONE = "Make one with `ssh-keygen -t ed25519 -N '' -f key`, and keep what is in the file `key`."


class CannotSign(Exception):
    """What was asked for is no signature that this key gives."""


@dataclass(frozen=True, slots=True)
class SshKey:
    """A private key of SSH; never shown."""

    _private: _PrivateKey = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the key in TEXT, as ``ssh-keygen`` writes it.  Blocks for a moment.

        Raises `InvalidInput`, which tells what is wrong with it and nothing of it.
        """
        if len(text) > LONGEST_KEY or "PRIVATE KEY-----" not in text:
            also = " This looks like the public one, which belongs to the forge." if text.startswith("ssh-") else ""
            raise InvalidInput(f"This is no private key of SSH.{also}", hint=_MAKE_ONE)
        private = _loaded("\n".join(line.strip() for line in text.strip().splitlines()) + "\n")
        if isinstance(private, rsa.RSAPrivateKey) and private.key_size < LEAST_BITS:
            raise InvalidInput(f"This key of RSA has fewer than {LEAST_BITS} bits, which are too few.", hint=_MAKE_ONE)
        if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name not in _CURVES:
            raise InvalidInput("SSH uses no keys of this curve.", hint=_MAKE_ONE)
        if not isinstance(private, _PrivateKey):
            raise InvalidInput("Keys of this kind are not used here: Ed25519, ECDSA and RSA are.", hint=_MAKE_ONE)
        return cls(private)

    @classmethod
    def from_plain(cls, plain: bytes) -> Self:
        """Return the key of which PLAIN was what `plain` returned."""
        return cls.parse(plain.decode())

    def plain(self) -> bytes:
        """Return the key as it is sealed."""
        form = serialization.PrivateFormat.OpenSSH
        return self._private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())

    @property
    def public(self) -> bytes:
        """The public key, as SSH sends it (RFC 4253, 6.6)."""
        form = serialization.PublicFormat.OpenSSH
        line = self._private.public_key().public_bytes(serialization.Encoding.OpenSSH, form)
        return base64.b64decode(line.split()[1])

    @property
    def fingerprint(self) -> str:
        """By which forges and ``ssh-keygen -l`` name the key, ``SHA256:…``."""
        return f"SHA256:{base64.b64encode(hashlib.sha256(self.public).digest()).decode().rstrip('=')}"

    def sign(self, data: bytes, flags: int) -> bytes:
        """Return the signature of DATA, as SSH sends it; FLAGS are those that an agent is given.  Raises `CannotSign`."""
        private = self._private
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return string(b"ssh-ed25519") + string(private.sign(data))
        if isinstance(private, ec.EllipticCurvePrivateKey):
            name = f"ecdsa-sha2-nistp{private.key_size}".encode()
            numbers = decode_dss_signature(private.sign(data, ec.ECDSA(_CURVES[private.curve.name])))
            return string(name) + string(b"".join(whole_number(number) for number in numbers))
        if flags not in _RSA:
            raise CannotSign
        name, digest = _RSA[flags]
        return string(name) + string(private.sign(data, padding.PKCS1v15(), digest))


def _loaded(text: str) -> object:
    read = serialization.load_ssh_private_key if "BEGIN OPENSSH" in text else serialization.load_pem_private_key
    try:
        return read(text.encode(), None)
    except TypeError:
        raise InvalidInput(
            "This key is protected with a passphrase, which nobody is there to type when it is used.",
            hint=f"Use a key for this alone, without one. {_MAKE_ONE}",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidInput("This private key is damaged, or of a kind that is not used here.", hint=_MAKE_ONE) from None
