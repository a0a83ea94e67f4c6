"""What the API answers where it cannot do what it was asked."""

from __future__ import annotations


class APIError(Exception):
    """A message and the status that goes with it."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.message = message
        self.status = status

    def as_json(self) -> dict[str, object]:
        """Its form in answers."""
        return {"error": self.message, "status": self.status}


def bad_request(message: str) -> APIError:
    """The client's mistake."""
    return APIError(message, 400)


def bad_body(message: str) -> APIError:
    """JSON that cannot be read."""
    return bad_request(f"bad request body: {message}")


def missing(what: str) -> APIError:
    """A field without which nothing can be made."""
    return bad_request(f"missing required field: {what}")


def not_found(message: str) -> APIError:
    """There is none of that name."""
    return APIError(message, 404)


def conflict(message: str) -> APIError:
    """There is one of that name."""
    return APIError(message, 409)


def failed(message: str) -> APIError:
    """The machine did not give what was asked for."""
    return APIError(message, 500)
