#!/usr/bin/env bash
# A test video of the shipped photos, 640×480, 30 frames a second, ten seconds: one face comes nearer; then two faces side by side
# sway.
#
#   make_video.sh PHOTOS OUT.mp4
set -euo pipefail
photos=$1
out=$2
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
still() { echo "-loop 1 -framerate 30 -t 5 -i $photos/$1"; }

nearer="scale=960:-1,zoompan=z='1+0.006*on':x='iw*0.43-(iw/zoom)*0.43':y='ih*0.25-(ih/zoom)*0.25':d=1:s=640x480:fps=30"
# shellcheck disable=SC2046
ffmpeg -v error $(still astronaut.png) -vf "$nearer" -t 5 -pix_fmt yuv420p "$folder/one.mp4"

left="[0]crop=320:480:70:0,setsar=1[l]"
right="[1]scale=480:480,crop=320:480:50:0,format=rgb24,setsar=1[r]"
sway="[l][r]hstack,rotate='0.25*sin(2*PI*t/5)':fillcolor=gray[v]"
# shellcheck disable=SC2046
ffmpeg -v error $(still astronaut.png) $(still camera.png) -filter_complex "$left;$right;$sway" -map "[v]" -t 5 -r 30 \
    -pix_fmt yuv420p "$folder/two.mp4"

printf "file '%s'\n" "$folder/one.mp4" "$folder/two.mp4" > "$folder/list"
ffmpeg -v error -y -f concat -safe 0 -i "$folder/list" -c copy "$out"
