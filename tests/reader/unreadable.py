#!/usr/bin/python3
"""Which guest bytes of which archives a repository does not give back: one JSON list. By the second reader, which tries to read every chunk."""
import json
import sys

from byre_reader import read_secrets
from format1.records import ArchiveRecord, LayerRecord
from format1.repository import Repository
from format1.wire import Damage


def readable(store, chunk, known):
    if chunk not in known:
        try:
            store.chunk(chunk)
            known[chunk] = True
        except Damage:
            known[chunk] = False
    return known[chunk]


def lost_ranges(repository, view, known):
    ranges = []
    for region, leaf, total in view.content.leaves(repository.store):
        base = region * repository.config.region
        for begin, end, chunk, _ in view.content_leaf(repository.store, region, leaf, total).pieces():
            begin, end = base + begin, min(base + end, view.size)
            if begin >= end or not chunk or readable(repository.store, chunk, known):
                continue
            if ranges and sum(ranges[-1]) == begin:
                ranges[-1][1] += end - begin
            else:
                ranges.append([begin, end - begin])
    return ranges


def main():
    class Arguments:
        key_file, passphrase_file = None, sys.argv[2]
    repository, known, out = Repository(sys.argv[1], read_secrets(Arguments)), {}, []
    for id_ in repository.state.archives:
        archive = ArchiveRecord(repository.store, id_)
        for name, positions in archive.images:
            for position in positions:
                layer = LayerRecord(repository.store, archive.layers[position], repository.config)
                for number, view in enumerate(layer.views):
                    ranges = lost_ranges(repository, view, known)
                    if ranges:
                        snapshot = layer.snapshots[number - 1].decode() if number else None
                        out.append([id_.hex(), name.decode(), layer.json["file"]["placed_path"], snapshot, ranges])
    print(json.dumps(sorted(out, key=str)))


if __name__ == "__main__":
    main()
