"""A page to look at scores: one HTML file that needs nothing but a browser (extra ``report``).

scores        the result file, whatever its format, and where its inputs lie
drawings      what scores were made from, found again and fitted again
fits          the rows fitted again: what the page draws
limbs         which limbs of a picture's own body differ from the reference's, and how sure that is
thumbnails    small pictures without metadata
page_data     numbers packed for the browser
page          template, styles and scripts put together, and written
build         the whole job
"""
