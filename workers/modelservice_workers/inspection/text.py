"""The facts of a model for people."""

from __future__ import annotations

from modelservice_workers.inspection.facts import Facts


def describe(facts: Facts) -> str:
    """A line for each thing that is known."""
    shape, cache = facts.architecture, facts.architecture.cache
    stored = ", ".join(f"{name} {gib(size)}" for name, size in sorted(facts.weights.bytes_of.items()))
    rows = [
        ("format", facts.format + (f", {len(facts.files)} files" if len(facts.files) > 1 else "")),
        ("weights", f"{gib(facts.size_bytes)} ({stored})"),
        ("parameters", f"{facts.weights.parameters:,}" if facts.weights.parameters else "unknown"),
        ("architecture", shape.name or "unknown"),
    ]
    if shape.layers:
        parts = [f"{shape.layers} layers", f"{shape.heads} heads", f"hidden size {shape.hidden}"]
        rows.append(("shape", ", ".join([*parts, *([f"{shape.experts} experts"] if shape.experts else [])])))
    if cache is not None:
        kept = f"{cache.latent} elements" if cache.latent else f"{cache.heads} heads of {cache.key_size}"
        sliding = f", {cache.sliding} of them the last {cache.window:,} tokens" if cache.sliding else ""
        rows.append(("cache", f"{cache.kind(shape.heads)}, {kept} in {cache.layers} layers{sliding}"))
        rows.append(("", f"{cache.elements_per_token() * 2:,} bytes a token in 16 bits"))
    if shape.context_limit:
        rows.append(("context", f"at most {shape.context_limit:,} tokens"))
    if shape.quantization:
        rows.append(("quantization", shape.quantization))
    rows += [("note", note) for note in facts.weights.notes]
    return "\n".join(f"{name:<13}{text}".rstrip() for name, text in rows) + "\n"


def gib(size: int) -> str:
    """Bytes for people."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size} B"
