"""The keys of a farm: whoever shows its certificate is let in, and nobody else.

A folder holds the certificate of an authority (``ca.pem``) and one that it signed (``cert.pem``)
with its key (``key.pem``), which all hosts of the farm share. The authority's own key is thrown
away when both are made: nobody can sign another one, and to shut somebody out new keys are made.
"""

from __future__ import annotations

import datetime as dt
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from latprof.common.extras import require
from latprof.common.files import output_error, what_is_at
from latprof.common.limits import whole
from latprof.errors import InputFileError, OutputPathError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from distributed import Security

#: How long keys are good for, in days.
DEFAULT_DAYS = 825
FILES = ("ca.pem", "cert.pem", "key.pem")
_AUTHORITY, _MEMBER = "latprof farm", "latprof farm member"
_DAYS = whole(1, 36_500)


def default_folder() -> Path:
    """Where the keys are unless another folder is named."""
    import platformdirs

    return platformdirs.user_config_path("latprof", appauthor=False) / "farm"


def make_keys(folder: str | os.PathLike[str] | None = None, *, days: int = DEFAULT_DAYS) -> Path:
    """Make the keys of a farm; copy the folder to each of its hosts, by a way that you trust.

    Parameters
    ----------
    folder : path, optional
        Where they go; ``~/.config/latprof/farm`` where not given.
    days : int
        After so many days new ones are needed.

    Returns
    -------
    Path
        The folder, which only its owner may read.

    Raises
    ------
    OutputPathError
        Where keys are there already, or cannot be written.
    """
    require("farm", "latprof farm keys", "cryptography")
    _DAYS.check("days", days)
    place = default_folder() if folder is None else Path(folder)
    for name in FILES:
        if what_is_at(place / name):
            raise OutputPathError(
                f"{place / name} is there already",
                field="folder",
                hint="remove the old keys on every host of the farm first, or name a new folder",
            )
    contents = _signed(dt.timedelta(days=days))
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in zip(FILES, contents, strict=True):
            handle = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise output_error(place, error) from None
    return place


def find_keys(folder: str | os.PathLike[str] | None) -> Path | None:
    """The folder of the keys; None where none is named and there are none.

    Raises InputFileError for keys that are missing, open to others, or out of date.
    """
    place = default_folder() if folder is None else Path(folder)
    if folder is None and not any(what_is_at(place / name) for name in FILES):
        return None
    for name in FILES:
        if what_is_at(place / name) != "file":
            raise InputFileError(
                f"cannot read the farm's key {place / name}".replace("\0", "\\0"),
                field="keys",
                expected="a file",
                hint="make keys with latprof farm keys, or copy them from another host",
            )
        if name == "key.pem" and (place / name).stat().st_mode & 0o077:
            raise InputFileError(
                f"others may read {place / name}", field="keys", hint="chmod 600 it"
            )
    _check_date(place / "cert.pem")
    _check_together(place)
    return place


def security_of(keys: Path | None) -> Security:
    """What dask needs to know: TLS on both sides with these keys, or none."""
    from distributed import Security

    if keys is None:
        return Security(require_encryption=False)
    ca, cert, key = (str(keys / name) for name in FILES)
    roles = {f"tls_{role}_cert": cert for role in ("client", "scheduler", "worker")}
    roles |= {f"tls_{role}_key": key for role in ("client", "scheduler", "worker")}
    return Security(
        require_encryption=True, tls_ca_file=ca, tls_min_version=ssl.TLSVersion.TLSv1_2, **roles
    )


def _check_date(path: Path) -> None:
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        raise InputFileError(f"{path} is no certificate", field="keys") from None
    now = dt.datetime.now(dt.UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise InputFileError(
            f"{path} is not valid today",
            field="keys",
            expected=f"a day from {certificate.not_valid_before_utc:%Y-%m-%d} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d}",
            hint="make new keys with latprof farm keys; or set this host's clock",
        )


def _check_together(place: Path) -> None:
    """Raise InputFileError for files that are damaged, or not of one farm."""
    ca, cert, key = (place / name for name in FILES)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(ca)
        context.load_cert_chain(cert, key, password="")  # else a key with a password asks for it
    except (OSError, ValueError) as error:
        raise InputFileError(
            f"the keys in {place} are damaged, or not of one farm",
            field="keys",
            got=str(error)[:200],
            hint="copy the folder again from another host of the farm",
        ) from None


def _signed(lifetime: dt.timedelta) -> tuple[bytes, bytes, bytes]:
    """The authority's certificate, the members', and the members' key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    authority, member = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    certificates = [
        _certificate(_AUTHORITY, authority, authority, lifetime, is_authority=True),
        _certificate(_MEMBER, member, authority, lifetime, is_authority=False),
    ]
    pem = serialization.Encoding.PEM
    ca, cert = (each.public_bytes(pem) for each in certificates)
    private = serialization.PrivateFormat.PKCS8
    return ca, cert, member.private_bytes(pem, private, serialization.NoEncryption())


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    lifetime: dt.timedelta,
    *,
    is_authority: bool,
) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    # The clocks of hosts differ, and some are in another time zone than they say.
    now, slack = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(_AUTHORITY))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - slack)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(identifier, critical=False)
    )
    limit = x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None)
    builder = builder.add_extension(limit, critical=True)
    usage = x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = builder.add_extension(usage, critical=True)
    if not is_authority:
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
        names = x509.SubjectAlternativeName([x509.DNSName("latprof-farm")])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256())
