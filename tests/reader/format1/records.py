"""Trees (§8) and the records (§9)."""
import re
from dataclasses import dataclass

from .store import ARCHIVE, CONTENT_LEAF, CONTENT_NODE, LAYER, PLACEMENT_LEAF, PLACEMENT_NODE
from .wire import Cursor, array, byte_string, canonical_json, fields, hex_bytes, natural, need

CONTENT, PLACEMENT = (CONTENT_LEAF, CONTENT_NODE), (PLACEMENT_LEAF, PLACEMENT_NODE)
LEVEL_MAX = 8                                                        # 64^8 regions are more than 64 bits can address
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", re.ASCII)
EXTENDED_L2 = 1 << 4                                                 # of qcow2's incompatible features

ARCHIVE_FIELDS = "format name host time tags nonce images layers with counters".split()
LAYER_FIELDS = """format virtual_size file_size content placement bytes_allocated path opened_as real_path placed_path
    mode uid gid mtime_ns ctime_ns device inode host_bytes filesystem delta delta_reason backing_file backing_format qcow2""".split()
QCOW2_FIELDS = """version cluster_bits size crypt_method l1_size l1_offset refcount_order refcount_table_offset
    refcount_table_clusters nb_snapshots snapshots_offset incompatible compatible autoclear header_length compression_type
    header l1_hash extensions""".split()


# -- trees -------------------------------------------------------------------------------------------------------------

class Tree:
    def __init__(self, value, kind, what):
        fields(value, ("level", "root"), what)
        self.level, self.what = natural(value["level"], what), what
        self.leaf_type, self.node_type = kind
        need(self.level <= LEVEL_MAX, f"{what}: level out of bounds")
        self.root = None if value["root"] is None else hex_bytes(value["root"], 32, what)

    def leaves(self, store, seen=None):
        """(region, leaf id) in the order of the regions. With a set `seen`, nodes that were met before are left out."""
        stack = [(self.root, self.level, 0)] if self.root else []
        while stack:
            id_, level, begin = place = stack.pop()
            if seen is not None:
                if (self.leaf_type, place) in seen:
                    continue
                seen.add((self.leaf_type, place))
            if level == 0:
                yield begin, id_
                continue
            c = Cursor(store.metadata(self.node_type, id_), f"{self.what}: node {id_.hex()}")
            c.need(c.u8() == level, "wrong level")
            bitmap = c.u64()
            c.need(bitmap, "no child")
            children = [(c.take(32), level - 1, begin + i * 64 ** (level - 1)) for i in range(64) if bitmap >> i & 1]
            c.end()
            stack += reversed(children)


class ContentLeaf:
    """runs: (begin, end, is data), in the region; chunks: (id, length)."""

    def __init__(self, data, length, largest_chunk, what):
        c = Cursor(data, what)
        self.runs, at, before = [], 0, None
        for _ in range(c.varint()):
            gap, coded = c.varint(), c.varint()
            begin, is_data = at + gap, not coded & 1
            at = begin + (coded >> 1)
            c.need(begin < at <= length, "empty run, or one beyond the end of the region")
            c.need(gap or is_data != before, "two runs that are one")
            self.runs.append((begin, at, is_data))
            before = is_data
        c.need(self.runs, "leaf without runs")
        self.chunks, total = [], 0
        for _ in range(c.varint()):
            size, id_ = c.varint(), c.take(32)
            c.take(16)                                               # the fingerprint: unverified, for want of GMAC
            c.need(0 < size <= largest_chunk, "length of a chunk out of bounds")
            self.chunks.append((id_, size))
            total += size
        c.end()
        c.need(total == sum(end - begin for begin, end, is_data in self.runs if is_data), "chunks are not the data runs")

    def pieces(self):
        """The runs, those of data cut where chunks end: (begin, end, chunk or None for zeros, offset in the chunk)."""
        chunks, chunk, size, used = iter(self.chunks), None, 0, 0
        for begin, end, is_data in self.runs:
            if not is_data:
                yield begin, end, None, 0
                continue
            while begin < end:
                if used == size:
                    (chunk, size), used = next(chunks), 0
                part = min(end - begin, size - used)
                yield begin, begin + part, chunk, used
                begin, used = begin + part, used + part


def check_placement_leaf(data, length, cluster_bits, what):
    """Parses a placement leaf for a region of this length. What the host offsets say cannot be checked without the disk."""
    c = Cursor(data, what)
    c.need(c.u8() == cluster_bits, "not the layer's cluster bits")
    flags = c.u8()
    c.need(flags <= 1, "unknown flags")
    need(length % (1 << cluster_bits) == 0, f"{what}: region is not made of whole clusters")
    clusters, left, runs = [], length >> cluster_bits, []
    while left:
        count, class_ = c.varint(), c.u8()
        c.need(1 <= count <= left and class_ <= 4, "classes out of bounds")
        c.need(not runs or runs[-1] != class_, "neighbours of the same class")
        runs.append(class_)
        clusters += [class_] * count
        left -= count
    expected, used = 0, any(clusters)
    for class_ in clusters:
        if class_ in (2, 3) or flags and class_ in (0, 1):
            value = expected + c.svarint()
            c.need(0 <= value < 1 << 64, "host cluster number out of bounds")
            expected, used = value + 1, used or value
    expected = 0
    for _ in range(clusters.count(4)):
        offset, size = expected + c.svarint(), c.varint()
        c.need(0 <= offset <= offset + size < 1 << 64, "compressed stream out of bounds")
        expected = offset + size
    for _ in clusters if flags else ():
        allocated, zero = c.varint(), c.varint()
        c.need(allocated < 1 << 32 and zero < 1 << 32, "more than 32 subclusters")
        used = used or allocated or zero
    c.end()
    c.need(used, "leaf for a region where nothing is allocated")


# -- records -----------------------------------------------------------------------------------------------------------

def parse_blob(value, what):
    """The (id, length) of a blob's chunks."""
    fields(value, ("bytes", "chunks"), what)
    chunks = []
    for chunk in array(value["chunks"], what):
        need(isinstance(chunk, list) and len(chunk) == 2, f"{what}: not [id, length]")
        chunks.append((hex_bytes(chunk[0], 32, what), natural(chunk[1], what)))
    need(sum(length for _, length in chunks) == natural(value["bytes"], what), f"{what}: length is not that of its chunks")
    return chunks


@dataclass
class Image:
    name: bytes
    layers: list       # positions, the top first


class ArchiveRecord:
    def __init__(self, store, id_):
        self.what = what = f"archive {id_.hex()}"
        self.json = record = canonical_json(store.metadata(ARCHIVE, id_), what)
        fields(record, ARCHIVE_FIELDS, what)
        need(record["format"] == 1, f"{what}: unknown format")
        self.name, self.host = byte_string(record["name"], what), byte_string(record["host"], what)
        self.tags = [byte_string(tag, what) for tag in array(record["tags"], what)]
        need(isinstance(record["time"], str) and TIME.fullmatch(record["time"]), f"{what}: bad time")
        hex_bytes(record["nonce"], 16, what)
        self.layers = [hex_bytes(fields(layer, ("id",), what)["id"], 32, what) for layer in array(record["layers"], what)]
        self.images = [self.image(image) for image in array(record["images"], what)]
        self.side_files = []
        for file in array(record["with"], what):
            fields(file, ("blob", "mode", "name"), what)
            byte_string(file["name"], what)
            self.side_files.append(parse_blob(file["blob"], what))

    def image(self, image):
        fields(image, ("layers", "name", "path"), self.what)
        byte_string(image["path"], self.what)
        layers = [natural(position, self.what) for position in array(image["layers"], self.what)]
        need(layers and layers[0] < len(self.layers), f"{self.what}: image of no layer")
        need(all(a > b for a, b in zip(layers, layers[1:])), f"{self.what}: a base that is not before its overlay")
        return Image(byte_string(image["name"], self.what), layers)


class LayerRecord:
    def __init__(self, store, id_):
        self.what = what = f"layer {id_.hex()}"
        self.json = record = canonical_json(store.metadata(LAYER, id_), what)
        fields(record, LAYER_FIELDS, what)
        need(record["format"] in ("qcow2", "raw"), f"{what}: unknown format")
        self.size, file_size = natural(record["virtual_size"], what), natural(record["file_size"], what)
        self.content = Tree(record["content"], CONTENT, f"{what} content")
        self.placement = self.header = self.cluster_bits = None
        if record["format"] == "raw":
            need(record["placement"] is None and record["qcow2"] is None, f"{what}: raw, but with placement or qcow2")
            self.span = max(self.size, file_size)
            return
        self.placement = Tree(record["placement"], PLACEMENT, f"{what} placement")
        qcow2 = fields(record["qcow2"], QCOW2_FIELDS, what)
        self.cluster_bits = natural(qcow2["cluster_bits"], what)
        need(9 <= self.cluster_bits <= 21, f"{what}: cluster bits out of bounds")
        entry_bits = 4 if natural(qcow2["incompatible"], what) & EXTENDED_L2 else 3
        self.span = natural(qcow2["l1_size"], what) << 2 * self.cluster_bits - entry_bits
        self.header = parse_blob(qcow2["header"], what)
        hex_bytes(qcow2["l1_hash"], 32, what)

    def region_length(self, region, region_size):
        length = min(region_size, self.span - region * region_size)
        need(length > 0, f"{self.what}: region {region} is beyond the address space")
        return length

    def content_leaf(self, store, config, region, id_):
        return ContentLeaf(store.metadata(CONTENT_LEAF, id_), self.region_length(region, config.region), config.largest,
                           f"{self.what}: content of region {region}")


def verify_archives(store, config):
    """Every archive's records, trees and blobs, down to the presence of each chunk. Returns what was counted."""
    counted = {"archives": 0, "images": 0}
    layers, chunks, met = set(), {}, {}

    def check_chunk(id_, length):
        if id_ not in chunks:
            store.check_chunk(id_, length)
        need(chunks.setdefault(id_, length) == length, f"chunk {id_.hex()}: used with different lengths")

    def check_layer(id_):
        layer = LayerRecord(store, id_)
        seen = met.setdefault((layer.span, layer.cluster_bits), set())        # on which the checks of a leaf depend
        for region, leaf in layer.content.leaves(store, seen):
            for chunk in layer.content_leaf(store, config, region, leaf).chunks:
                check_chunk(*chunk)
        for chunk in layer.header or ():
            check_chunk(*chunk)
        if layer.placement:
            for region, leaf in layer.placement.leaves(store, seen):
                check_placement_leaf(store.metadata(PLACEMENT_LEAF, leaf), layer.region_length(region, config.region),
                                     layer.cluster_bits, f"{layer.what}: placement of region {region}")

    for id_, entry in store.state.archives.items():
        archive = ArchiveRecord(store, id_)
        need((archive.name, archive.host) == (entry.name, entry.host), f"{archive.what}: other name or host than in the log")
        for file in archive.side_files:
            for chunk in file:
                check_chunk(*chunk)
        for layer in archive.layers:
            if layer not in layers:
                layers.add(layer)
                check_layer(layer)
        counted["archives"] += 1
        counted["images"] += len(archive.images)
    return counted | {"layers": len(layers), "nodes and leaves": sum(map(len, met.values())), "chunks in use": len(chunks)}
