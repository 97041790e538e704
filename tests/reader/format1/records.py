"""Trees (§8) and the records (§9)."""
import re

from .store import ARCHIVE, CONTENT_LEAF, CONTENT_NODE, LAYER, PLACEMENT_LEAF, PLACEMENT_NODE
from .wire import Cursor, canonical_json, dec, hex_id, integer, need, or_null, signed_dec, take_apart, text

LEVEL_MAX = 10
CHUNK_MAX, STREAM_MAX, HOST_END = 1 << 20, 1 << 27, 1 << 63
EXTENDED_L2 = 1 << 4                                                 # of qcow2's incompatible features
TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


# -- trees -------------------------------------------------------------------------------------------------------------

class Tree:
    def __init__(self, value, leaf_type, node_type, regions, what):
        self.level, self.root, self.leaf_type, self.node_type, self.what = *value.values(), leaf_type, node_type, what
        smallest = next(level for level in range(LEVEL_MAX + 2) if 64 ** level >= regions or level > LEVEL_MAX)
        need(self.level == smallest <= LEVEL_MAX, f"{what}: wrong level")

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
    """runs: (begin, end, is data), in the region; chunks: (id, length, fingerprint)."""

    def __init__(self, data, length, what):
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
            c.need(0 < size <= CHUNK_MAX, "length of a chunk out of bounds")
            self.chunks.append((id_, size, c.take(16)))
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
                    (chunk, size, _), used = next(chunks), 0
                part = min(end - begin, size - used)
                yield begin, begin + part, chunk, used
                begin, used = begin + part, used + part


def check_placement_leaf(data, cluster_bits, extended, region_size, what):
    """Parses a placement leaf. What the host offsets say cannot be checked without the disk."""
    c = Cursor(data, what)
    c.need(c.u8() == cluster_bits, "not the layer's cluster bits")
    c.need(c.u8() == extended, "wrong flags")
    clusters, left, before = [], region_size >> cluster_bits, None
    while left:
        count, class_ = c.varint(), c.u8()
        c.need(1 <= count <= left and class_ <= 4, "classes out of bounds")
        c.need(class_ != before, "neighbours of the same class")
        clusters += [class_] * count
        before, left = class_, left - count
    c.need(any(clusters), "leaf for a region where nothing is allocated")
    expected = 0
    for class_ in clusters:
        if class_ in (2, 3):
            number = expected + c.svarint()
            c.need(0 <= number << cluster_bits < HOST_END, "host cluster out of bounds")
            expected = number + 1
    expected = 0
    for _ in range(clusters.count(4)):
        offset, size = expected + c.svarint(), c.varint()
        c.need(1 <= size <= STREAM_MAX and 0 <= offset and offset + size < HOST_END, "compressed stream out of bounds")
        expected = offset + size
    for class_ in clusters if extended else ():
        allocated, zero, all_ = c.varint(), c.varint(), (1 << 32) - 1
        c.need(allocated <= all_ and zero <= all_, "more than 32 subclusters")
        c.need(class_ > 2 or (allocated == zero == 0, zero, zero == all_)[class_], "subclusters that the class does not have")
    c.end()


# -- records -----------------------------------------------------------------------------------------------------------

def members(form, names):
    return dict.fromkeys(names.split(), form)


def nonce(value, what):
    return hex_id(value, what, 16)


def hex_number(value, what):
    need(re.fullmatch(b"[0-9a-f]+", text(value, what)), f"{what}: not in hex")


def absolute(value, what):
    need(text(value, what).startswith(b"/"), f"{what}: not absolute")


def below(value, what):
    """A path below a folder: its plain components."""
    parts = text(value, what).split(b"/")
    need(all(part not in (b"", b".", b"..") and b"\0" not in part for part in parts), f"{what}: not of plain components")
    return parts


def file_name(value, what):
    need(len(below(value, what)) == 1, f"{what}: not a plain file name")


TREE = {"level": integer, "root": or_null(hex_id)}
BLOB = {"bytes": dec, "chunks": [(hex_id, integer)]}
ARCHIVE_RECORD = members(text, "name host time") | {
    "format": integer, "tags": [text], "nonce": nonce, "images": [{"layers": [integer], "name": text, "path": text}],
    "layers": [{"id": hex_id}], "with": [{"blob": BLOB, "mode": integer, "name": file_name}]}
QCOW2 = {"header": BLOB, "l1_hash": hex_id, "extensions": [(integer, integer)]} | members(
    integer, "version cluster_bits crypt_method l1_size refcount_order refcount_table_clusters nb_snapshots header_length "
             "compression_type") | members(
    dec, "size l1_offset refcount_table_offset snapshots_offset incompatible compatible autoclear")
LAYER_RECORD = members(dec, "virtual_size file_size bytes_allocated device inode host_bytes") | members(
    text, "format opened_as delta delta_reason") | members(absolute, "path real_path") | members(
    integer, "mode uid gid") | members(signed_dec, "mtime_ns ctime_ns") | members(
    or_null(text), "backing_file backing_format") | {
    "content": TREE, "placement": or_null(TREE), "placed_path": below, "qcow2": or_null(QCOW2),
    "filesystem": {"type": hex_number, "uuid": or_null(text)}}


def blob_chunks(blob, what):
    need(all(0 < length <= CHUNK_MAX for _, length in blob["chunks"]), f"{what}: length of a chunk out of bounds")
    need(sum(length for _, length in blob["chunks"]) == blob["bytes"], f"{what}: length is not that of its chunks")
    return blob["chunks"]


class ArchiveRecord:
    """images: their name, and their layers' positions in layers."""

    def __init__(self, store, id_):
        self.what = what = f"archive {id_.hex()}"
        self.json = canonical_json(store.metadata(ARCHIVE, id_), what)
        record = take_apart(self.json, ARCHIVE_RECORD, what)
        entry = store.state.archives[id_]
        need(record["format"] == 1, f"{what}: unknown format")
        need((record["name"], record["host"]) == (entry.name, entry.host), f"{what}: other name or host than in the log")
        need(TIME.fullmatch(record["time"]), f"{what}: bad time")
        self.layers = [layer["id"] for layer in record["layers"]]
        self.images = [(image["name"], image["layers"]) for image in record["images"]]
        for _, layers in self.images:
            need(layers and layers[0] < len(self.layers), f"{what}: image of no layer")
            need(all(a > b for a, b in zip(layers, layers[1:])), f"{what}: a base that is not before its overlay")
        self.side_chunks = [chunk for file in record["with"] for chunk in blob_chunks(file["blob"], what)]


class LayerRecord:
    def __init__(self, store, id_, config):
        self.what = what = f"layer {id_.hex()}"
        self.json = canonical_json(store.metadata(LAYER, id_), what)
        record = take_apart(self.json, LAYER_RECORD, what)
        qcow2, self.size, self.region = record["qcow2"], record["virtual_size"], config.region
        need(record["format"] == (b"qcow2" if qcow2 else b"raw"), f"{what}: unknown format, or without what belongs to it")
        need((record["placement"] is None) == (qcow2 is None), f"{what}: raw with a placement, or qcow2 without")
        self.span, self.cluster_bits, self.extended, self.header = self.size, None, None, ()
        if qcow2:
            self.cluster_bits, self.extended = qcow2["cluster_bits"], bool(qcow2["incompatible"] & EXTENDED_L2)
            need(9 <= self.cluster_bits <= 21, f"{what}: cluster bits out of bounds")
            self.span = qcow2["l1_size"] << 2 * self.cluster_bits - 3 - self.extended
            self.header = blob_chunks(qcow2["header"], what)
        regions = -(-self.span // self.region)
        self.content = Tree(record["content"], CONTENT_LEAF, CONTENT_NODE, regions, f"{what} content")
        self.placement = qcow2 and Tree(record["placement"], PLACEMENT_LEAF, PLACEMENT_NODE, regions, f"{what} placement")

    def region_length(self, region):
        length = min(self.region, self.span - region * self.region)
        need(length > 0, f"{self.what}: region {region} is beyond the address space")
        return length

    def content_leaf(self, store, region, id_):
        what = f"{self.what}: content of region {region}"
        return ContentLeaf(store.metadata(CONTENT_LEAF, id_), self.region_length(region), what)


def verify_archives(store, config):
    """Every archive's records, trees and blobs, down to the presence of each chunk. Returns what was counted."""
    counted = {"archives": 0, "images": 0}
    layers, chunks, met = set(), set(), {}

    def check_chunks(used):
        for chunk in used:
            if chunk not in chunks:
                store.check_chunk(*chunk)
                chunks.add(chunk)

    def check_layer(layer):
        seen = met.setdefault((layer.span, layer.cluster_bits, layer.extended), set())   # on which a leaf's checks depend
        for region, leaf in layer.content.leaves(store, seen):
            check_chunks(layer.content_leaf(store, region, leaf).chunks)
        check_chunks(map(tuple, layer.header))
        for region, leaf in layer.placement.leaves(store, seen) if layer.placement else ():
            layer.region_length(region)
            check_placement_leaf(store.metadata(PLACEMENT_LEAF, leaf), layer.cluster_bits, layer.extended, config.region,
                                 f"{layer.what}: placement of region {region}")

    for id_ in store.state.archives:
        archive = ArchiveRecord(store, id_)
        check_chunks(map(tuple, archive.side_chunks))
        for layer in set(archive.layers) - layers:
            layers.add(layer)
            check_layer(LayerRecord(store, layer, config))
        counted["archives"] += 1
        counted["images"] += len(archive.images)
    return counted | {"layers": len(layers), "nodes and leaves": sum(map(len, met.values())),
                      "chunks in use": len({chunk[0] for chunk in chunks})}
