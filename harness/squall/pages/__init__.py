"""What all HTML that Squall writes is made of: escaping, the frame of a page, its look, drawings.

`squall certify` and `squall load` write pages; both look alike, need no network, and hold no inline
styles where a server could forbid them.
"""
