# The front door. Everything else is scripts/ (what to fetch and run) and meson.build (how to compile).
PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: all help demo demo-plates demo-faces test test-long bench bench-peers fuzz install uninstall clean

all:
	@scripts/setup build
	@scripts/build release

help:
	@echo 'make              build/omma and its plug-ins'
	@echo 'make demo         find people in four real videos: demo/annotated.mp4, demo/contact.png'
	@echo 'make demo-plates  read number plates on a generated street: demo/plates.mp4 (minutes)'
	@echo 'make demo-faces   find and follow faces: demo/faces.mp4'
	@echo 'make test         the checks, within 15 minutes'
	@echo 'make test-long    the slow ones'
	@echo 'make fuzz         feed broken files to the parsers (SECONDS_EACH=60)'
	@echo 'make bench        speed against the limits of this machine'
	@echo 'make bench-peers  speed against other engines (downloads them)'
	@echo 'make install      into PREFIX ($(PREFIX)), below DESTDIR if set'
	@echo 'make uninstall    takes it away again, nothing stays'
	@echo 'make clean        removes what was built; .deps stays'

demo:
	@scripts/setup demo
	@scripts/demo

demo-plates:
	@scripts/demo-plates

demo-faces:
	@scripts/demo-faces

test:
	@scripts/setup test
	@scripts/test

test-long:
	@scripts/setup bench
	@scripts/test-long

fuzz:
	@scripts/setup test
	@scripts/fuzz $(or $(SECONDS_EACH),60)

bench:
	@scripts/setup bench
	@scripts/bench

bench-peers:
	@scripts/setup bench
	@scripts/bench-peers

install: all
	@scripts/install --prefix '$(PREFIX)' --destdir '$(DESTDIR)'

uninstall:
	@scripts/install --uninstall --prefix '$(PREFIX)' --destdir '$(DESTDIR)'

clean:
	rm -rf build build-asan build-tsan build-fuzz demo
