"""What the errors of the libraries mean for the person who wrote the storage URI."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.download.addresses import Address


@contextmanager
def explained(address: Address) -> Iterator[None]:
    """Turn the libraries' errors into ArtifactErrors that say what to do; those that may pass are left alone."""
    try:
        yield
    except PermissionError as error:
        raise forbidden(address) from error
    except FileNotFoundError as error:
        raise missing(address) from error
    except Exception as error:
        response = getattr(error, "response", None)
        if getattr(error, "status", getattr(response, "status_code", None)) in (401, 403):
            raise forbidden(address) from error
        raise


def forbidden(address: Address) -> ArtifactError:
    """The source refuses the credentials."""
    return ArtifactError(
        f"{address} may not be read with the credentials given; set the token or keys of the storage secret, "
        "or ask for access to the model."
    )


def missing(address: Address) -> ArtifactError:
    """The source does not have it, or hides it."""
    return ArtifactError(f"{address} does not exist, or needs credentials; check the storage URI.")
