"""Trees (§8) and the records (§9)."""
import re
import struct

from .store import ARCHIVE, CONTENT_LEAF, CONTENT_NODE, LAYER, PLACEMENT_LEAF, PLACEMENT_NODE
from .wire import Cursor, boolean, canonical_json, dec, hex_id, integer, need, octets, or_null, signed_dec, take_apart, text

LEVEL_MAX = 10
CHUNK_MAX, PIECE_MAX, STREAM_MAX, HOST_END = 1 << 20, 1 << 17, 1 << 27, 1 << 63
DATA_FILE, EXTENDED_L2 = 1 << 2, 1 << 4                              # of qcow2's incompatible features
LUKS = 2                                                             # of its crypt_method
SECTOR = 512
TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


# -- trees -------------------------------------------------------------------------------------------------------------

class Tree:
    def __init__(self, value, leaf_type, node_type, regions, what):
        self.bytes, self.level, self.root = value["bytes"], value["level"], value["root"]
        self.leaf_type, self.node_type, self.what = leaf_type, node_type, what
        need(self.root or self.bytes == 0, f"{what}: an empty tree that stands for bytes")
        smallest = next(level for level in range(LEVEL_MAX + 2) if 64 ** level >= regions or level > LEVEL_MAX)
        need(self.level == smallest <= LEVEL_MAX, f"{what}: wrong level")

    def leaves(self, store, seen=None):
        """(region, leaf id, bytes) in the order of the regions. With a set `seen`, nodes that were met before are left out."""
        stack = [(self.root, self.level, 0, self.bytes)] if self.root else []
        while stack:
            id_, level, begin, total = place = stack.pop()
            if seen is not None:
                if (self.leaf_type, place) in seen:
                    continue
                seen.add((self.leaf_type, place))
            if level == 0:
                yield begin, id_, total
                continue
            c = Cursor(store.metadata(self.node_type, id_), f"{self.what}: node {id_.hex()}")
            c.need(c.u8() == level, "wrong level")
            bitmap = c.u64()
            c.need(bitmap, "no child")
            children = [(c.take(32), level - 1, begin + i * 64 ** (level - 1), c.u64()) for i in range(64) if bitmap >> i & 1]
            c.end()
            c.need(sum(child[3] for child in children) == total, "children that do not stand for the node's bytes")
            stack += reversed(children)


class ContentLeaf:
    """runs: (begin, end, is data), in the region; chunks: (id, length, fingerprint)."""

    def __init__(self, data, length, total, what):
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
        self.chunks = []
        for _ in range(c.varint()):
            size, id_ = c.varint(), c.take(32)
            c.need(0 < size <= CHUNK_MAX, "length of a chunk out of bounds")
            self.chunks.append((id_, size, c.take(16)))
        c.end()
        data_runs = sum(end - begin for begin, end, is_data in self.runs if is_data)
        c.need(sum(size for _, size, _ in self.chunks) == data_runs, "chunks are not the data runs")
        c.need(data_runs == total, "data runs are not the bytes that the leaf stands for")

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


def check_placement_leaf(data, cluster_bits, extended, region_size, total, what):
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
    allocated_bytes = sum(class_ == 4 or class_ == 3 and not extended for class_ in clusters) << cluster_bits
    for class_ in clusters if extended else ():
        allocated, zero, all_ = c.varint(), c.varint(), (1 << 32) - 1
        allocated_bytes += allocated.bit_count() << cluster_bits - 5 if class_ == 3 else 0
        c.need(allocated <= all_ and zero <= all_, "more than 32 subclusters")
        c.need(class_ > 2 or (allocated == zero == 0, zero, zero == all_)[class_], "subclusters that the class does not have")
    c.end()
    c.need(allocated_bytes == total, "allocated clusters are not the bytes that the leaf stands for")


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


TREE = {"bytes": dec, "level": integer, "root": or_null(hex_id)}
BLOB = {"bytes": dec, "chunks": [(hex_id, integer)]}
ARCHIVE_RECORD = members(text, "name host time") | {
    "format": integer, "tags": [text], "nonce": nonce, "images": [{"layers": [integer], "name": text, "path": text}],
    "layers": [{"id": hex_id}], "with": [{"blob": BLOB, "mode": integer, "name": file_name}]}
FILE = members(dec, "size device inode host_bytes") | members(absolute, "path real_path") | members(
    integer, "mode uid gid") | members(signed_dec, "mtime_ns ctime_ns") | {
    "placed_path": below, "filesystem": {"id": or_null(text), "type": hex_number}}
SNAPSHOT = members(integer, "date_nsec date_sec") | members(dec, "disk_size vm_clock vm_state_size") | members(
    text, "id name") | {"raw": octets}
BITMAP = members(integer, "flags granularity_bits type") | {
    "data": BLOB, "extra": octets, "name": text, "own": boolean, "table": [(integer, integer)]}
QCOW2 = {"header": BLOB, "extensions": [(integer, integer)], "crypto": or_null({"header": BLOB, "offset": dec}),
         "snapshots": [SNAPSHOT], "bitmaps": [BITMAP], "data_file": or_null({"file": FILE, "name": text, "tail": BLOB})} | members(
    integer, "version cluster_bits crypt_method l1_size refcount_order refcount_table_clusters nb_snapshots header_length "
             "compression_type") | members(
    dec, "size l1_offset refcount_table_offset snapshots_offset incompatible compatible autoclear")
VIEW = {"content": TREE, "l1_hash": or_null(hex_id), "l1_size": integer, "placement": or_null(TREE)}
CONTENT = {"bitmap": or_null(text), "format": text, "losses": [text]}
LAYER_RECORD = members(dec, "virtual_size bytes_allocated") | members(
    text, "format opened_as delta delta_reason") | members(or_null(text), "backing_file backing_format") | {
    "file": FILE, "views": [VIEW], "qcow2": or_null(QCOW2)}
EXPORT_FILE = FILE | members(text, "path real_path")                 # of an NBD export, its URI


def blob_chunks(blob, what, longest=CHUNK_MAX):
    need(all(0 < length <= longest for _, length in blob["chunks"]), f"{what}: length of a chunk out of bounds")
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


class View:
    """One state of a layer's disk, of `size` bytes; qcow2's L1 table may span more, or less."""

    def __init__(self, record, size, qcow2, region, what):
        self.what, self.size, self.region, self.span, self.cluster_bits, self.extended = what, size, region, size, None, None
        need((record["placement"] is None) == (qcow2 is None), f"{what}: raw with placement, or qcow2 without")
        need(qcow2 or record["l1_hash"] is None, f"{what}: raw with l1_hash")
        if qcow2:
            self.cluster_bits, self.extended = qcow2["cluster_bits"], bool(qcow2["incompatible"] & EXTENDED_L2)
            self.span = record["l1_size"] << 2 * self.cluster_bits - 3 - self.extended
        else:
            need(record["l1_size"] == 0, f"{what}: raw with an L1 table")
        regions = -(-self.span // region)
        self.content = Tree(record["content"], CONTENT_LEAF, CONTENT_NODE, regions, f"{what} content")
        self.placement = qcow2 and Tree(record["placement"], PLACEMENT_LEAF, PLACEMENT_NODE, regions, f"{what} placement")

    def region_length(self, region):
        length = min(self.region, self.span - region * self.region)
        need(length > 0, f"{self.what}: region {region} is beyond the address space")
        return length

    def content_leaf(self, store, region, id_, total):
        what = f"{self.what}: content of region {region}"
        return ContentLeaf(store.metadata(CONTENT_LEAF, id_), self.region_length(region), total, what)


def check_snapshot(snapshot, l1_size, what):
    """The entry of qcow2's snapshot table, big-endian, says what the record does. One of an old version says less."""
    raw, fixed = snapshot["raw"], struct.Struct(">QIHHIIQII")
    need(len(raw) >= fixed.size, f"{what}: entry too short")
    _, l1, id_size, name_size, *times, vm_state, extra_size = fixed.unpack_from(raw)
    c = Cursor(raw[fixed.size:], what)
    extra, id_, title = c.take(extra_size), c.take(id_size), c.take(name_size)
    c.end()
    vm_state = struct.unpack_from(">Q", extra)[0] if extra_size >= 8 else vm_state
    disk = struct.unpack_from(">Q", extra, 8)[0] if extra_size >= 16 else snapshot["disk_size"]
    for name, value in zip(("id", "name", "date_sec", "date_nsec", "vm_clock", "vm_state_size", "disk_size"),
                           (id_, title, *times, vm_state, disk)):
        c.need(snapshot[name] == value, f"{name} is not that of the entry")
    c.need(l1 == l1_size, "l1_size is not that of the view")


def bitmap_blob(bitmap, cluster_bits, what):
    need(all(class_ <= 2 and count for class_, count in bitmap["table"]), f"{what}: table out of bounds")
    clusters = sum(count for class_, count in bitmap["table"] if class_ == 2)
    need(bitmap["data"]["bytes"] == clusters << cluster_bits, f"{what}: data is not the clusters that the table has")
    return blob_chunks(bitmap["data"], what, PIECE_MAX if bitmap["own"] else CHUNK_MAX)


class LayerRecord:
    """views: the active one, then the snapshots' (their ids are in snapshots); chunks: those of all blobs, pieces of own bitmaps."""

    def __init__(self, store, id_, config):
        self.what = what = f"layer {id_.hex()}"
        self.json = canonical_json(store.metadata(LAYER, id_), what)
        form = LAYER_RECORD
        if isinstance(self.json, dict) and "content" in self.json:
            content = self.check_content(take_apart(self.json["content"], CONTENT, f"{what}: content"))
            form = form | {"content": CONTENT, "file": EXPORT_FILE if content["format"] == b"nbd" else FILE}
        record = take_apart(self.json, form, what)
        need("content" not in record or record["qcow2"] is None, f"{what}: qcow2 with content")
        qcow2, sizes, self.snapshots, self.chunks, self.encrypted = record["qcow2"], [record["virtual_size"]], [], [], False
        self.pieces = []
        need(record["format"] == (b"qcow2" if qcow2 else b"raw"), f"{what}: unknown format, or without what belongs to it")
        if qcow2:
            self.read_qcow2(qcow2)
            sizes += [snapshot["disk_size"] // SECTOR * SECTOR for snapshot in qcow2["snapshots"]]
        views = record["views"]
        need(len(views) == len(sizes), f"{what}: wrong number of views")
        if qcow2:
            need(views[0]["l1_size"] == qcow2["l1_size"], f"{what}: other l1_size than that of the active view")
            for number, snapshot in enumerate(qcow2["snapshots"]):
                check_snapshot(snapshot, views[number + 1]["l1_size"], f"{what}: snapshot {number}")
        self.views = [View(view, size, qcow2, config.region, f"{what} view {number}")
                      for number, (view, size) in enumerate(zip(views, sizes))]
        active = self.views[0]
        need(record["bytes_allocated"] == (active.placement or active.content).bytes, f"{what}: wrong bytes_allocated")

    def check_content(self, content):
        need(re.fullmatch(b"[a-z0-9]{1,16}", content["format"]), f"{self.what}: content of no format")
        texts = content["losses"] + ([content["bitmap"]] if content["bitmap"] is not None else [])
        need(len(content["losses"]) <= 64 and all(0 < len(t) < 1024 for t in texts), f"{self.what}: content out of bounds")
        return content

    def read_qcow2(self, qcow2):
        bits, crypto = qcow2["cluster_bits"], qcow2["crypto"]
        need(9 <= bits <= 21, f"{self.what}: cluster bits out of bounds")
        need(qcow2["nb_snapshots"] == len(qcow2["snapshots"]), f"{self.what}: wrong number of snapshots")
        need((crypto is not None) == (qcow2["crypt_method"] == LUKS), f"{self.what}: LUKS without crypto, or the reverse")
        need((qcow2["data_file"] is not None) == bool(qcow2["incompatible"] & DATA_FILE), f"{self.what}: wrong data_file")
        self.snapshots = [snapshot["id"] for snapshot in qcow2["snapshots"]]
        self.encrypted = qcow2["crypt_method"] != 0
        self.chunks = blob_chunks(qcow2["header"], self.what) + (blob_chunks(crypto["header"], self.what) if crypto else [])
        self.chunks += blob_chunks(qcow2["data_file"]["tail"], self.what) if qcow2["data_file"] else []
        for number, bitmap in enumerate(qcow2["bitmaps"]):
            kept = self.pieces if bitmap["own"] else self.chunks
            kept += bitmap_blob(bitmap, bits, f"{self.what}: bitmap {number}")


def verify_archives(store, config):
    """Every archive's records, trees of all views and blobs, down to the presence of each chunk. Returns what was counted."""
    counted = {"archives": 0, "images": 0, "views": 0}
    layers, chunks, met = set(), set(), {}

    def check_chunks(used):
        for chunk in used:
            if chunk not in chunks:
                store.check_chunk(*chunk)
                chunks.add(chunk)

    def check_view(view):
        seen = met.setdefault((view.span, view.cluster_bits, view.extended), set())   # on which a leaf's checks depend
        for region, leaf, total in view.content.leaves(store, seen):
            check_chunks(view.content_leaf(store, region, leaf, total).chunks)
        for region, leaf, total in view.placement.leaves(store, seen) if view.placement else ():
            view.region_length(region)
            check_placement_leaf(store.metadata(PLACEMENT_LEAF, leaf), view.cluster_bits, view.extended, config.region, total,
                                 f"{view.what}: placement of region {region}")

    for id_ in store.state.archives:
        archive = ArchiveRecord(store, id_)
        check_chunks(map(tuple, archive.side_chunks))
        for id_ in set(archive.layers) - layers:
            layers.add(id_)
            layer = LayerRecord(store, id_, config)
            check_chunks(map(tuple, layer.chunks))
            for piece in layer.pieces:
                store.check_piece(*piece)
            for view in layer.views:
                check_view(view)
            counted["views"] += len(layer.views)
        counted["archives"] += 1
        counted["images"] += len(archive.images)
    return counted | {"layers": len(layers), "nodes and leaves": sum(map(len, met.values())),
                      "chunks in use": len({chunk[0] for chunk in chunks})}
