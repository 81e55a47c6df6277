"""The settings of callers' authentication: the section ``callers``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from proxy.settings import COMMA_SEPARATED, matching, setting

FileMode = Annotated[str, matching(r"0?[0-7]{3}", "three octal digits, such as 600")]


@dataclass(frozen=True)
class CallerSettings:
    """TLS and authentication of callers, needed when other machines can reach the port."""

    secret_files: Annotated[tuple[Path, ...], COMMA_SEPARATED] = setting(
        (),
        "Files with one shared secret each; callers send one of them in Proxy-Authorization.",
    )
    certificate_file: Path | None = setting(
        None, "PEM file with the listener's certificate; turns on TLS."
    )
    key_file: Path | None = setting(
        None, "PEM file with the key of `callers.certificate_file`, if separate."
    )
    client_ca_file: Path | None = setting(
        None,
        "PEM file with the authority of client certificates, which callers then need.",
    )
    client_names: Annotated[tuple[str, ...], COMMA_SEPARATED] = setting(
        (),
        "Names in client certificates (CN, DNS, URI) that may call; all if left out.",
    )
    socket_mode: FileMode = setting(
        "600",
        "File mode of the listener's Unix socket, three octal digits.",
    )

    @property
    def are_authenticated(self) -> bool:
        """Whether callers have to authenticate."""
        return bool(self.secret_files) or self.client_ca_file is not None

    def files(self) -> list[Path]:
        """Return the files that are set."""
        given = [self.certificate_file, self.key_file, self.client_ca_file, *self.secret_files]
        return [file for file in given if file is not None]

    def errors(self, path: str) -> Iterator[str]:
        """Yield an error for each combination that is not allowed; names begin with ``path``."""
        if self.client_ca_file is not None and self.certificate_file is None:
            yield f"{path}client_ca_file: needs {path}certificate_file, because it works over TLS"
        if self.client_names and self.client_ca_file is None:
            yield f"{path}client_names: needs {path}client_ca_file"
        if self.key_file is not None and self.certificate_file is None:
            yield f"{path}key_file: needs {path}certificate_file"
