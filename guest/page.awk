# Makes a page to read of what a guest and its vmm report, see scripts/guest.
# "key=value ..." with values that may be quoted
function value(key,   re) {
	if (!match($0, "(^|[ :])" key "=(\"[^\"]*\"|[^ ]*)"))
		return ""
	re = substr($0, RSTART, RLENGTH)
	sub(/^[^=]*=/, "", re)
	gsub(/"/, "", re)
	return re
}
function mib(n) { n += 0; return n >= 1048576 ? sprintf("%.1f MiB", n / 1048576) : sprintf("%.0f KiB", n / 1024) }
/^guest: is / {
	if (value("services") == "0x0000001d") proof = "the hypervisor offers it memory sharing"
	if (value("rsi") != "none") proof = "it talks RSI " value("rsi")
	if (value("mem_encrypt") != "none") proof = "the kernel has found " value("mem_encrypt")
	printf "  proof            %s; %s CPUs, %s of memory\n", proof ? proof : "none",
		value("cpus"), mib(value("ram_kib") * 1024)
}
/^guest: doorbell=[0-9]+ cases/ {
	reach = (value("encrypted") + 0 ? "private" : "") \
		(value("encrypted") + 0 && value("unencrypted") + 0 ? " and " : "") \
		(value("unencrypted") + 0 ? "shared" : "")
	printf "  doorbell %s       DMA from %s memory, %scoherent; %s calls of %s kinds through the DMA API right, %s wrong\n",
		value("doorbell"), reach, value("coherent") + 0 ? "" : "not ",
		value("passed"), value("cases"), value("failed")
}
/^guest: mmap / { mmap += value("bytes"); mmap_bad += value("bad") }
/^guest: disk=/ { printf "  disk %-11s %s written, read and compared in %s requests, %s bytes differ\n",
	value("disk"), mib(value("bytes")), value("requests"), value("bad") }
/^guest: net=/ { printf "  network card     %s frames there and back, %s lost, %s bytes differ\n",
	value("packets"), value("lost"), value("bad") }
/^guest: pool=/ && value("hiwater") > 0 { printf "  served by        pool %s, %s: up to %s of %s slots in use at once\n",
	value("pool"), value("state"), value("hiwater"), value("slots") }
/^guest: atomic/ { printf "                   atomic pools of %s\n", mib(value("bytes")) }
/^vmm: dma / { moved += value("bytes"); n += value("accesses"); faults += value("faults") }
/^vmm: disk / { checked += value("written"); bad += value("mismatched") }
/^vmm: negative / { wanted = value("wanted"); missed = value("missed") }
/^vmm: cpu / { cpu = value("faults") }
/^vmm: shared / { found = value("found") + 0; most = value("most") + 0; least = value("least") + 0 }
END {
	printf "  user space       %s exchanged with devices through mmap, %s bytes differ\n", mib(mmap), mmap_bad + 0
	printf "  the host saw     %s moved in %d accesses; its image of the disk: %s bytes differ\n", mib(moved), n, bad + 0
	printf "  it refused       %s of %s accesses to private memory made on purpose, %s others; %s by the guest's CPUs\n",
		wanted + 0, wanted + missed, faults + 0, cpu + 0
	printf "  shared at last   %s found%s\n", mib(found),
		(found >= least && found <= most) ? ", the pools and nothing else" : \
			", which is not what the guest has in its pools"
}
