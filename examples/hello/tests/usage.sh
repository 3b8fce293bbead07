# Without a name, greet says how it is used.
! ./greet 2>message
grep -q 'usage: greet NAME' message
