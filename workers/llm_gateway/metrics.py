"""What the LLM gateway counts for Prometheus."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from workers.llm_gateway.relay import Tokens

KIND: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 5, 8, 15, 30)


class Metrics:
    """The figures of one process, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "edgewise_llm_requests",
            "Requests by how they ended: ok, failed, gone (the caller left), limited.",
            ("account", "model", "outcome"),
            registry=self._registry,
        )
        self._tokens = Counter(
            "edgewise_llm_tokens",
            "Tokens used.",
            ("account", "model", "kind"),
            registry=self._registry,
        )
        self._failures = Counter(
            "edgewise_llm_upstream_failures",
            "Failures of upstreams, those that a fallback made good included.",
            ("model", "failure"),
            registry=self._registry,
        )
        self._first = Histogram(
            "edgewise_llm_first_content_seconds",
            "From the request to the first content of a stream.",
            ("model",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.under_way = Gauge(
            "edgewise_llm_requests_under_way",
            "Requests that are being answered.",
            registry=self._registry,
        )
        self.file_in_force = Gauge(
            "edgewise_llm_models_file_in_force",
            "1 where the models file as it is now is in force, 0 where it is broken.",
            registry=self._registry,
        )

    def request(self, account: str, model: str, outcome: str, tokens: Tokens) -> None:
        """Count a request that has ended, and what it used."""
        self._requests.labels(account, model, outcome).inc()
        self._tokens.labels(account, model, "prompt").inc(tokens.prompt)
        self._tokens.labels(account, model, "completion").inc(tokens.completion)

    def failure(self, model: str, failure: str) -> None:
        """Count a failure of an upstream."""
        self._failures.labels(model, failure).inc()

    def first_content(self, model: str, seconds: float) -> None:
        """Note how long the first content took."""
        self._first.labels(model).observe(seconds)

    def text(self) -> bytes:
        """Return all of it in Prometheus's text format."""
        return generate_latest(self._registry)
