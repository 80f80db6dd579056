module countersign.dev/tests/judge

go 1.25

require golang.org/x/mod v0.0.0

// The toolchain's own vendored copy; support/judges.py replaces this path by one that has a go.mod.
replace golang.org/x/mod => ./mod
