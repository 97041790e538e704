"""A repository that a secret has opened, and the extraction of images (§9, last paragraph)."""
import os
from functools import cached_property, lru_cache

from .keys import Config, Keys, read_slots
from .log import Log
from .records import ArchiveRecord, LayerRecord
from .store import Store
from .wire import Damage, Refused, need

BLOCK = 4096


class Repository:
    def __init__(self, root, secrets):
        """secrets: kind of slot: secret."""
        self.root = root
        self.config = Config(os.path.join(root, "config"))
        self.keys, self.log = self.open(secrets)
        self.state = self.log.state

    def open(self, secrets):
        """A slot that the log does not know is a leftover: another one may open with the same secret."""
        slots, problem = read_slots(self.root), None
        for slot in slots:
            try:
                if slot.kind in secrets and slot.open(secrets[slot.kind], self.config):
                    keys = Keys(self.root, self.config, slot)
                    log = Log(self.root, self.config.id, keys)
                    if slot.id in log.state.keys:
                        keys.check(log.state, log.start)
                        return keys, log
            except (Damage, Refused) as error:
                problem = problem or error
        raise problem or Refused("no slot that the log knows opens with this secret")

    @cached_property
    def store(self):
        return Store(self.root, self.config, self.keys, self.log)

    def find_archive(self, wanted):
        """The id of an archive by `latest`, its name (the newest of that name) or hex digits that no other begins with."""
        archives = self.state.archives
        named = [id_ for id_ in archives if wanted == "latest" or archives[id_].name == os.fsencode(wanted)]
        if named:
            return named[-1]
        found = [id_ for id_ in archives if wanted and id_.hex().startswith(wanted.lower())]
        if len(found) != 1:
            raise Refused(f"{len(found) or 'no'} archives are called {wanted!r}")
        return found[0]

    def archive(self, wanted):
        return ArchiveRecord(self.store, self.find_archive(wanted))

    def chain(self, archive, image_name, top=0, snapshot=None):
        """The views to read of an image's layers, from the layer at `top` (0: the topmost) down: there the snapshot's, if any."""
        images = [layers for name, layers in archive.images if name == os.fsencode(image_name)]
        if len(images) != 1:
            raise Refused(f"{len(images) or 'no'} images are called {image_name!r}")
        layers = images[0][top:]
        if not layers:
            raise Refused(f"the image has {len(images[0])} layers")
        records = [LayerRecord(self.store, archive.layers[position], self.config) for position in layers]
        if any(record.encrypted for record in records):
            raise Refused("a layer of the image is encrypted")
        wanted = 0
        if snapshot is not None:
            found = [number for number, id_ in enumerate(records[0].snapshots, 1) if id_ == os.fsencode(snapshot)]
            if len(found) != 1:
                raise Refused(f"{len(found) or 'no'} snapshots of the layer have the id {snapshot!r}")
            wanted = found[0]
        return [records[0].views[wanted]] + [record.views[0] for record in records[1:]]

    def extract(self, chain, path):
        """Writes what the top of the chain shows, as a sparse file; that has its name only once it is complete."""
        chunk = lru_cache(maxsize=8)(self.store.chunk)
        part = path + ".part"
        with open(part, "wb") as file:
            file.truncate(chain[0].size)
            for begin, data in self.regions(chain, chunk):
                for at, end in filled(data):
                    file.seek(begin + at)
                    file.write(data[at:end])
        os.replace(part, path)

    def regions(self, chain, chunk):
        """(address, bytes) of every region of which any view has something."""
        size = self.config.region
        iterators = [view.content.leaves(self.store) for view in chain]
        heads = [next(leaves, None) for leaves in iterators]
        while any(heads):
            region = min(head[0] for head in heads if head)
            begin = region * size
            if begin >= chain[0].size:
                return
            data = bytearray(min(size, chain[0].size - begin))
            holes = [(0, len(data))]
            for number, (view, head) in enumerate(zip(chain, heads)):
                holes = [(a, min(b, view.size - begin)) for a, b in holes if a < view.size - begin]
                if head and head[0] == region:
                    leaf = view.content_leaf(self.store, *head)
                    holes = paint(leaf, holes, data, chunk)
                    heads[number] = next(iterators[number], None)
            yield begin, data


def paint(leaf, holes, data, chunk):
    """Fills the holes with what a leaf has there, and returns what is left of them."""
    for begin, end, id_, skip in leaf.pieces():
        left = []
        for a, b in holes:
            low, high = max(a, begin), min(b, end)
            if low >= high:
                left.append((a, b))
                continue
            if id_:
                source = chunk(id_)
                need(skip + end - begin <= len(source), f"chunk {id_.hex()}: shorter than where it is used")
                data[low:high] = source[low - begin + skip:high - begin + skip]
            left += [(x, y) for x, y in ((a, low), (high, b)) if x < y]
        holes = left
    return holes


def filled(data):
    """The parts of a region that have other blocks than zero ones."""
    zeros, begin = bytes(BLOCK), None
    for at in range(0, len(data) + BLOCK, BLOCK):
        block = data[at:at + BLOCK]
        if block and block != zeros[:len(block)]:
            begin = at if begin is None else begin
        elif begin is not None:
            yield begin, min(at, len(data))
            begin = None
