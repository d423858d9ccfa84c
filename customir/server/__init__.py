"""`customir serve`: search and embeddings over HTTP, on Starlette and uvicorn. Imports no torch."""
