"""Outlines of people from masks: a mask is reduced once to widths at ``engine.picture.outline.PLACES``.

``measure`` reduces one mask; ``mask_arrays``, ``mask_files`` and ``coco_masks`` decode masks; ``whose`` finds the mask
of each person; ``mask_folder`` adds the outlines of a folder of masks to a keypoint table.
"""
