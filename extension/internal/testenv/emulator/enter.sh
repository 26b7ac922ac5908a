# The first process of new mount and process namespaces: lays out the mounts and becomes the emulator.
# Arguments: scratch folder; content of /opt, content of /opt/extensions, working folder, managed mode's bootstrap (each of these
# four may be empty); then the command to become.
set -eu
scratch=$1 opt=$2 extensions=$3 task=$4 bootstrap=$5
shift 5

mount --make-rprivate /
# Not allowed in every container; only programs that look at processes would notice.
mount -t proc proc /proc 2>/dev/null || :

# fill FROM TO: lets the entries of a folder appear in another one, too.
fill() {
	for entry in "$1"/* "$1"/.[!.]*; do
		to=$2/${entry##*/}
		if [ -L "$entry" ]; then
			cp -P "$entry" "$to"
		elif [ -d "$entry" ]; then
			mkdir -p "$to"
			mount --rbind "$entry" "$to"
		elif [ -e "$entry" ]; then
			[ -e "$to" ] || : >"$to"
			mount --bind "$entry" "$to"
		fi
	done
}

# graft FOLDER: from here on new entries in it are seen in this namespace alone. What it has stays, since a Python
# or Java may be installed there.
graft() {
	mkdir -p "$scratch/stage" "$1"
	mount -t tmpfs -o mode=755 tmpfs "$scratch/stage"
	fill "$1" "$scratch/stage"
	mount --rbind "$scratch/stage" "$1"
}

# fresh FOLDER: empty, whatever the machine has there.
fresh() {
	mkdir -p "$1"
	mount -t tmpfs -o mode=755 tmpfs "$1"
}

graft /opt
if [ -e /opt/extensions ]; then fresh /opt/extensions; fi
if [ -n "$opt" ]; then fill "$opt" /opt; fi
if [ -n "$extensions" ]; then
	mkdir -p /opt/extensions
	mount --rbind "$extensions" /opt/extensions
fi

if [ -n "$bootstrap" ]; then
	graft /var
	fresh /var/task
	if [ -n "$task" ]; then mount --rbind "$task" /var/task; fi
	fresh /var/runtime
	: >/var/runtime/bootstrap
	mount --bind "$bootstrap" /var/runtime/bootstrap
	task=/var/task
fi
if [ -n "$task" ]; then cd "$task"; else cd /; fi
exec "$@"
