"""Running a plan: the pure machine that decides, the engine that carries out."""
