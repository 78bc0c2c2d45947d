# Runs a program until standard input ends, as it does with the process that holds the other end, however that ends. Then the
# program is killed and its folder removed.
#
# $1: the folder. The rest: the program and its arguments.
folder=$1
shift
"$@" </dev/null &
cat >/dev/null
kill -9 $!
rm -rf "$folder"
