"""Start the frontend and serve until SIGTERM."""

from __future__ import annotations

from boutique.frontend.server import main

if __name__ == "__main__":
    main()
