"""A page to look at scores: one HTML file that needs nothing but a browser (extra ``report``).

scores        the result file in any format, and the paths of its inputs
drawings      the inputs of scores, found again, and the rows fitted again
fits          the rows fitted again, for the page to draw
limbs         differences of limbs between a picture's own body and the reference's, with uncertainty
thumbnails    small pictures without metadata
page_data     numbers packed for the browser
page          template, styles and scripts put together, and written
build         the whole job
"""
