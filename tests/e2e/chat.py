"""Talks to an OpenAI server with OpenAI's own client: `python chat.py URL MODEL SECONDS`.

One answer is streamed and printed as JSON; then so many conversations go on at once for SECONDS.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import openai

CONVERSATIONS = 8
TOKENS = 200


def talk(client: openai.OpenAI, model: str) -> list[openai.types.chat.ChatCompletionChunk]:
    """Stream one answer; return its chunks."""
    said = [{"role": "user", "content": "Say something."}]
    with client.chat.completions.create(
        model=model, messages=said, max_tokens=TOKENS, temperature=0, stream=True
    ) as stream:
        return list(stream)


def main(url: str, model: str, seconds: float) -> None:
    """Print what the first answer was, then how many there were."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    chunks = talk(client, model)
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    first = {
        "models": [one.id for one in client.models.list()],
        "chunks": len(chunks),
        "text": "".join(choice.delta.content or "" for choice in choices),
        "finish": choices[-1].finish_reason,
    }
    print(json.dumps(first), flush=True)
    until = time.monotonic() + seconds

    def converse(_: int) -> int:
        answers = 0
        while time.monotonic() < until:
            talk(client, model)
            answers += 1
        return answers

    with ThreadPoolExecutor(CONVERSATIONS) as pool:
        print(json.dumps({"answers": sum(pool.map(converse, range(CONVERSATIONS)))}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
