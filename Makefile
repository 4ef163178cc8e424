# A thin front for Meson. `make` builds into build/, `make run` shows it, `make test` checks it.
BUILD := build

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet

$(BUILD)/build.ninja:
	@tools/setup.sh
	@meson setup $(BUILD) >$(BUILD)-setup.log 2>&1 || { cat $(BUILD)-setup.log; exit 1; }
	@rm -f $(BUILD)-setup.log
	@echo "building into $(BUILD)/ (about a minute the first time)"

run: all
	@tools/demo.sh $(BUILD)

test: all
	@tools/test.sh

install: all
	@meson install -C $(BUILD) --no-rebuild

clean:
	@rm -rf $(BUILD) $(BUILD)-*

.PHONY: all run test install clean
