"""
The survey: finds doors that let strangers in, by knocking on what is one's own to knock on. Today: the archive's own
doors.
"""
