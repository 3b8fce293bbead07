# Names of several words stay together.
test "$(./greet 'dear reader')" = 'Hello, dear reader!'
