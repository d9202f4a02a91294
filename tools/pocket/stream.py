"""Packs of documents from several processes: flat arrays of a fixed number of tokens."""
import multiprocessing as mp
import random

import numpy as np
import torch

import documents
from encoder import Encoder

MOST_DOCUMENTS = 160
LONGEST = 5120  # tokens of one document


def make_pack(rng, encoder, pieces, tokens):
    """ids, weights, positions [tokens] and bounds [MOST_DOCUMENTS + 1] (padded) in one flat array."""
    ids = np.zeros(tokens, np.int32)
    weights = np.zeros(tokens, np.float32)
    positions = np.zeros(tokens, np.int32)
    bounds = np.full(MOST_DOCUMENTS + 1, tokens, np.int32)
    bounds[0] = at = count = 0
    while at < tokens and count < MOST_DOCUMENTS:
        doc, w = encoder.spans(documents.make_spans(rng, pieces))
        n = min(len(doc), tokens - at, LONGEST)
        ids[at:at + n], weights[at:at + n], positions[at:at + n] = doc[:n], w[:n], np.arange(n)
        weights[at] = 0  # nothing predicts the first token
        at += n
        count += 1
        bounds[count] = at
    if at < tokens and count == MOST_DOCUMENTS:  # short documents only: the rest stays empty
        extra = min(tokens - at, LONGEST)
        positions[at:at + extra] = np.arange(extra)
        bounds[count] = at
    return np.concatenate((ids, weights.view(np.int32), positions, bounds))


def unpack(flat, tokens):
    """The four parts of a pack, as views."""
    return flat[:tokens], flat[tokens:2 * tokens].view(torch.float32), flat[2 * tokens:3 * tokens], flat[3 * tokens:]


def _work(queue, stop, seed, folder, tokens):
    rng, encoder = random.Random(seed), Encoder(folder)
    pieces = encoder.pieces()
    while not stop.is_set():
        pack = make_pack(rng, encoder, pieces, tokens)
        while not stop.is_set():
            try:
                queue.put(pack, timeout=0.5)
                break
            except Exception:
                continue
    queue.cancel_join_thread()


class Stream:
    def __init__(self, folder, tokens, processes, seed):
        context = mp.get_context("fork" if processes else None)
        self.queue, self.stop = context.Queue(processes * 4 + 4), context.Event()
        self.workers = [context.Process(target=_work, daemon=True, args=(self.queue, self.stop, seed * 1000 + i, folder, tokens))
                        for i in range(processes)]
        for w in self.workers:
            w.start()
        self.local = None if processes else (random.Random(seed), Encoder(folder), tokens)

    def next(self):
        if self.local:
            rng, encoder, tokens = self.local
            return make_pack(rng, encoder, encoder.pieces(), tokens)
        return self.queue.get()

    def close(self):
        self.stop.set()
        for w in self.workers:
            w.join(timeout=5)
