"""What dlt's entry points lead to: loading it installs the integration. dlt loads its plug-ins when a pipeline or a
command first asks for its configuration."""

from __future__ import annotations

from .dlt import install

install()
