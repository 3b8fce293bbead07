# The greeting that the job before made names whom it greets.
grep -qx 'Hello, Tenon!' out/greeting.txt
