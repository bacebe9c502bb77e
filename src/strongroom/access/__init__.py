"""
Pure decisions: who a caller is, and whether this actor may do that to this target (DESIGN section 6, SECURITY C05 to
C11).
"""
