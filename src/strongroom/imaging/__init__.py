"""
Pixel data to pictures and other transfer syntaxes, in worker processes that can be killed (SECURITY C32).

Everybody else talks to a `pool.Pool`, describes pixels with `pixels.PixelDescription` and says what is wanted with
`options.RenderOptions`. The modules that import a codec or numpy are imported by `worker` alone: a byte that came from
outside is never decoded in the process that holds the keys.
"""
