"""What the Help tab says."""

HELP = """
### Working at the desk

1. **Add scans**: drop them on the left of *Analyse*, or press `U`. PNG, JPEG, WebP, BMP and TIFF are read.
2. **Look**: the banner says the risk and what the policy advises. Below it, where the two models disagree.
   Filters show the picture in black and white, negative, organic or metal only, and so on; the scan never changes.
3. **Decide**: `1` clear, `2` review, `3` search. Clearing a bag rated HIGH asks for a reason.
4. **Correct**: draw what was missed (drag on the picture, type a few letters, Enter), move or relabel a box
   (click it, drag, `Enter`), delete what is not there (`Delete`). `C` takes the counts from the boxes.
   `S` saves. Every save is a new revision; the prediction and older revisions stay.
5. One bag in five is kept for testing and is never trained on. The rest trains the next adapter (admins: *Train*).

After a hand search, *What did the hand search find?* records the truth about the bag. With a review required, an
annotator accepts or rejects what somebody else saved.

*Annotate* (annotators) offers the scans a correction teaches most, with the reason: `T` takes the next one, which is
yours alone while you work. `Y`: the prediction is right. `S` saves and takes the next, `Q` skips with a reason. On
*Review*, `A` accepts somebody else's correction, `R` rejects it with a comment, `E` opens it to be amended.

Press `?` on *Analyse* for all keys. Unsaved edits stay in this browser tab until you save or undo them.

### What the colours and shapes mean

| | |
|---|---|
| octagon, red, **HIGH** | a prohibited item, or an opaque area past the hard limit: search |
| triangle, amber, **MEDIUM** | a restricted item, a doubt, an incomplete answer: review |
| circle, green, **LOW** | nothing found. Only a model validated on this scanner may advise to clear |
| solid frame | prohibited; dashed: restricted; dotted: allowed |
| ✎ | drawn or changed by a person |

"demonstration model" means that a bundled model is serving. It was trained on simulated scans alone and is there
to try the desk with. Do not rely on it.
"""
