#!/usr/bin/env bash
# Holds the modules of src/ to their direction: a file includes headers of the modules below its own
# and of no other. Prints file:line of each include that goes elsewhere.
# Usage: tests/check_includes.sh
set -euo pipefail
cd "$(dirname "$0")/../src"

# What each module may use, itself aside. A module that is not listed may use nothing.
allowed() {
    case $1 in
        base) ;;
        auth) echo store cache base ;;
        backup) echo store base ;;
        vision | http | ops | store | cache | web) echo base ;;
        media | engine | results | analytics) echo vision base ;;
        eval) echo analytics vision base ;;
        optimize) echo engine eval media vision base ;;
        jobs) echo store engine media results analytics vision base ;;
        streams) echo jobs store engine media results analytics vision base ;;
        api) echo http ops auth store cache web streams jobs engine media results eval analytics vision base ;;
        cli | main.c) echo api cli http ops auth backup store cache web streams jobs optimize engine media results eval analytics vision base ;;
    esac
}

# Every quoted include of the project: "FILE:LINE:MODULE/HEADER".
includes() {
    grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' --include='*.c' --include='*.h' . |
        sed -E 's/^\.\/([^:]*:[0-9]+):[^"]*"([^"]*)".*/\1:\2/'
}

count=0
bad=0
while IFS=: read -r file line header; do
    count=$((count + 1))
    from=${file%%/*}
    to=${header%%/*}
    if [ "$to" = "$header" ]; then
        printf 'src/%s:%s: "%s" is not named by its module (write "module/%s")\n' \
            "$file" "$line" "$header" "$header"
        bad=$((bad + 1))
    elif [ "$from" != "$to" ] && [[ " $(allowed "$from") " != *" $to "* ]]; then
        printf 'src/%s:%s: %s must not use %s ("%s")\n' "$file" "$line" "$from" "$to" "$header"
        bad=$((bad + 1))
    fi
done < <(includes)

if [ "$count" -eq 0 ]; then
    echo "no include was found under src: the check itself is broken"
    exit 1
fi
[ "$bad" -eq 0 ]
