# Runs one broker node on the orders of the process that holds the other end of standard input. At its end, however
# that process ended, the node is killed and its folder removed.
#
# $1: the node's folder. The rest: the command that runs the Erlang VM.
folder=$1
shift
vm=

kill_vm() {
    [ -n "$vm" ] || return
    kill -9 "-$vm"
    wait "$vm"
    vm=
}

# epmd is the node's own too: left to itself, the VM would start one that stays for ever.
epmd </dev/null &
epmd=$!

while read -r order; do
    case $order in
    start)
        setsid "$@" </dev/null &
        vm=$!
        echo "$vm" >"$folder/vm"
        ;;
    kill) kill_vm ;;
    esac
done

kill_vm
kill -9 "$epmd"
# The VM's helpers may outlive it for a moment.
rm -rf "$folder" || { sleep 1 && rm -rf "$folder"; }
