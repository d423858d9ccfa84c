# What `make setup` builds of llama.cpp: the library that llama_cpp loads. llama-cpp-python also asks for
# llama.cpp's helpers for its own programs and for the library for pictures, which CustomIR never
# loads and which take longer to compile than all the rest.
set(LLAMA_BUILD_COMMON OFF)
set(LLAVA_BUILD OFF)
