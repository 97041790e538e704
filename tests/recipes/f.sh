# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck disable=SC2034,SC2154,SC2317,SC2329
# External data files and backing names.

# -- data files
data_file() { mk "data_file=$1${2:+,$2}" 4M; w 'write -P 1 0 1M' 'write -P 2 3M 4k' 'write -z 512k 64k'; reads 'read -P 2 3M 4k'; }
# The name in the restored layer is found from its own folder.
r_data_file() { data_file data.img; cdback; }
cdback() { after() { (cd "$T/back" && io top.qcow2 'read -P 2 3M 4k'); }; patterns=(); }
r_data_file_raw() { data_file data.img data_file_raw=on; cdback; }
r_data_file_absolute() { data_file "$PWD/data.img"; rewritten=true; cdback; }
r_data_file_absolute_raw() { data_file "$PWD/data.img" data_file_raw=on; rewritten=true; cdback; }
r_data_file_extended() { data_file data.img extended_l2=on; w 'write -P 5 1M 3k' 'write -P 6 1100k 5k'; cdback; }
r_data_file_prealloc() { data_file data.img preallocation=metadata; cdback; }
r_data_file_prealloc_full() { data_file data.img preallocation=full,data_file_raw=on; cdback; }
r_data_file_2m_clusters() { data_file data.img cluster_size=2M; cdback; }
r_data_file_small_clusters() { data_file data.img cluster_size=512; cdback; }
r_data_file_discard() { data_file data.img; w 'discard 0 512k'; cdback; }
r_data_file_over_base() { mk '' 4M base.qcow2; io base.qcow2 'write -P 9 0 4M'; over base.qcow2 data_file=data.img; w 'write -P 2 3M 4k' 'write -z 1M 64k'; cdback; }
r_data_file_as_base() { mk data_file=data.img 4M base.qcow2; io base.qcow2 'write -P 9 0 2M'; over base.qcow2; w 'write -P 2 3M 4k'; cdback; }
r_data_file_bitmap() { data_file data.img; bitmap top.qcow2 b; w 'write -P 3 1M 64k'; cdback; }
r_data_file_name_with_comma() { data_file 'd,,ata ü.img'; cdback; }
r_data_file_raw_longer() { data_file data.img data_file_raw=on; head -c 100000 /dev/zero | tr '\0' x >>data.img; cdback; eval "$(declare -f after | sed '1s/after/after_reads/')"; after() { after_reads; cmp "$T/src/data.img" "$T/back/data.img"; }; }
r_data_file_missing() { data_file data.img; rm data.img; patterns=(); refused='data.img'; }

# -- backing names
base() { mk "${2:-}" "${3:-4M}" "$1"; io "$1" 'write -P 9 0 1M' 'write -P 8 2M 64k'; }
named() { qemu-img create -q -f qcow2 -u -b "$1" ${2:+-F "$2"} top.qcow2 4M; w 'write -P 1 1M 64k'; reads 'read -P 9 0 1M' 'read -P 1 1M 64k' 'read -P 8 2M 64k'; }
r_chain_of_12() { base l0.qcow2; for n in $(seq 11); do over "l$((n - 1)).qcow2" '' "l$n.qcow2"; io "l$n.qcow2" "write -P $n ${n}00k 50k"; done; over l11.qcow2; reads 'read -P 8 2M 64k' 'read -P 5 500k 50k'; }
r_name_relative_folder() { mkdir d; base d/base.qcow2; named d/base.qcow2 qcow2; }
r_name_parent_folder() { base ../base.qcow2; named ../base.qcow2 qcow2; }
r_name_dots() { mkdir d; base d/base.qcow2; named .//./d/./base.qcow2 qcow2; }
# The folder d does not come back, so neither does the name.
r_name_dots_through_a_folder() { mkdir d; base base.qcow2; named ./d/..//base.qcow2 qcow2; rewritten=true; plain_name base.qcow2; }
r_name_absolute() { base base.qcow2; named "$PWD/base.qcow2" qcow2; rewritten=true; plain_name base.qcow2; }
# plain_name NAME: what the restored top calls its base.
plain_name() { eval "after() { expect_equal \"\$(qemu-img info --output=json \"\$top\" | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"backing-filename\"])')\" '$1' 'the rewritten name'; mv \"\$T/src\" \"\$T/gone\"; io \"\$top\" \"\${patterns[@]}\"; mv \"\$T/gone\" \"\$T/src\"; }"; }
r_name_link_to_base() { base real.qcow2; ln -s real.qcow2 base.qcow2; named base.qcow2 qcow2; plain_name base.qcow2; }
r_name_link_to_folder() { mkdir a; base a/base.qcow2; ln -s a l; named l/base.qcow2 qcow2; plain_name l/base.qcow2; }
r_name_top_is_link() { mkdir store; base base.qcow2; named base.qcow2 qcow2; mv top.qcow2 store; ln -s store/top.qcow2 top.qcow2; rewritten=true; }
r_name_1023() { base base.qcow2; named "$(printf './%.0s' {1..506})/base.qcow2" qcow2; poke top.qcow2 'assert i.backing_size == 1023, i.backing_size'; }
r_name_no_format() { base base.qcow2; named base.qcow2 qcow2; poke top.qcow2 'i.write_extensions([(k, d) for k, d, _ in i.extensions() if k != image.BACKING_FORMAT])'; }
r_name_no_format_v2() { base base.qcow2; qemu-img create -q -f qcow2 -o compat=0.10 -b base.qcow2 -F qcow2 top.qcow2; poke top.qcow2 'i.write_extensions([])'; w 'write -P 1 1M 64k'; reads 'read -P 9 0 1M'; }
r_name_no_format_raw() { truncate -s 4M base.img; qemu-io -f raw -c 'write -P 9 0 1M' base.img >/dev/null; named base.img raw; poke top.qcow2 'i.write_extensions([(k, d) for k, d, _ in i.extensions() if k != image.BACKING_FORMAT])'; patterns=('read -P 9 0 1M'); }
r_name_colon() { base ./we:ird.qcow2; named ./we:ird.qcow2 qcow2; }
r_name_utf8() { base 'bäse ü€.qcow2'; named 'bäse ü€.qcow2' qcow2; }
r_name_not_utf8() { local n; n=$(printf 'b\xff\xfe.qcow2'); base "$n"; named "$n" qcow2; }
r_name_file() { base base.qcow2; named file:base.qcow2 qcow2; rewritten=true; plain_name base.qcow2; }
r_name_file_absolute() { base base.qcow2; named "file:$PWD/base.qcow2" qcow2; rewritten=true; plain_name base.qcow2; }
r_name_file_folder() { mkdir d; base d/base.qcow2; named file:d/base.qcow2 qcow2; rewritten=true; plain_name d/base.qcow2; }
r_name_json() { base base.qcow2; named 'json:{"driver":"qcow2","file":{"driver":"file","filename":"base.qcow2"}}' qcow2; rewritten=true; plain_name base.qcow2; }
r_name_json_absolute() { base base.qcow2; named "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"$PWD/base.qcow2\"}}" qcow2; rewritten=true; plain_name base.qcow2; }
r_name_json_dotted() { base base.qcow2; named 'json:{"driver":"qcow2","file.driver":"file","file.filename":"base.qcow2"}' qcow2; rewritten=true; plain_name base.qcow2; }
r_name_json_no_driver() { base base.qcow2; named 'json:{"file":{"driver":"file","filename":"base.qcow2"}}' qcow2; rewritten=true; plain_name base.qcow2; }
r_name_json_raw() { truncate -s 4M base.img; qemu-io -f raw -c 'write -P 9 0 1M' -c 'write -P 8 2M 64k' base.img >/dev/null; named 'json:{"driver":"raw","file":{"driver":"file","filename":"base.img"}}' raw; rewritten=true; plain_name base.img; }
# A slice of a file is no file.
r_name_json_slice() { truncate -s 8M base.img; named 'json:{"driver":"raw","offset":1048576,"size":4194304,"file":{"driver":"file","filename":"base.img"}}' raw; patterns=(); refused='json|offset'; }
r_name_nbd() { qemu-img create -q -f qcow2 -u -b nbd://localhost:1/x -F raw top.qcow2 4M; refused='nbd'; }
r_name_missing() { base base.qcow2; named base.qcow2 qcow2; rm base.qcow2; patterns=(); refused='base.qcow2'; }
r_name_loop() { mk '' 4M; poke top.qcow2 'i.set_backing(b"top.qcow2")'; refused='loop|itself|cycle|again|twice'; }
r_raw_base() { truncate -s 4M base.img; qemu-io -f raw -c 'write -P 9 0 1M' -c 'write -P 8 2M 64k' base.img >/dev/null; named base.img raw; }
r_raw_base_odd() { random_file base.img 3000001 3; named base.img raw; patterns=('read -P 1 1M 64k'); }
r_raw_base_looks_like_qcow2() { base base.img; named base.img raw; patterns=('read -P 1 1M 64k'); }
r_raw_alone() { random_file top.raw 3000001 3; tops=(top.raw); raw[top.raw]=1; }
r_base_shorter() { base base.qcow2 '' 3M; over base.qcow2 '' top.qcow2 9M; w 'write -P 1 8M 64k' 'write -z 2M 64k'; }
r_base_longer() { base base.qcow2 '' 9M; over base.qcow2 '' top.qcow2 3M; w 'write -P 1 1M 64k'; }
r_base_odd_sizes() { base base.qcow2 cluster_size=4k 3001344; over base.qcow2 cluster_size=64k top.qcow2 5000192; w 'write -P 1 2997760 1k'; }
r_base_clusters() { base b0.qcow2 cluster_size=2M,compat=0.10; over b0.qcow2 cluster_size=512 b1.qcow2; io b1.qcow2 'write -P 3 0 1k'; over b1.qcow2 compression_type=zstd,cluster_size=1M b2.qcow2; io b2.qcow2 'write -c -P 4 1M 1M'; over b2.qcow2 extended_l2=on; w 'write -P 5 3M 2k'; }
r_base_shared() { base base.qcow2; over base.qcow2 '' top.qcow2; over base.qcow2 '' other.qcow2; io other.qcow2 'write -P 4 0 64k'; tops=(top.qcow2 other.qcow2); }
r_base_zero_over() { base base.qcow2; over base.qcow2; w 'write -z 0 512k' 'discard 2M 64k' 'write -P 1 100k 1k'; }
r_base_zero_over_v2() { base base.qcow2; over base.qcow2 compat=0.10; w 'write -z 0 512k' 'write -P 1 100k 1k' 'discard 0 64k'; }
r_base_lazy_prealloc() { base base.qcow2; over base.qcow2 lazy_refcounts=on,extended_l2=on,preallocation=metadata; w 'write -P 1 0 10k'; }
r_absolute_in_512_byte_clusters() { mkdir -p "$(printf 'long-folder-name-%s/' {1..12})"; base base.qcow2; mk cluster_size=512 4M; poke top.qcow2 'i.set_backing(b"'"$PWD"'/base.qcow2")'; rewritten=true; }
