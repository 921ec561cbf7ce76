"""What the Help tab says."""

HELP = """
### Working at the desk

1. **Add scans**: drop scans (PNG, JPEG, WebP, BMP, TIFF, DICOM/DICOS) or a folder anywhere on *Analyse*, or press `U`
   (`Shift U`: a folder). Where nothing is open, or nothing left to do about what is, the first is shown while the rest
   are read. What could not be read is listed with its reason. Scans dropped under one bag name are its views: they
   stand side by side (`V`: the next), are decided together, and the worst of them is the bag's risk.
2. **Look**: the banner says the risk and what the policy advises. Below it, where the two models disagree (`≠`).
   Filters combine and never change the scan; `R` resets them. Organic, metal and penetration work on the picture's
   colours, not on the scanner's energies. `[` and `]` hide boxes the models are less sure of; a save hides none.
3. **Decide**: `1` clear, `2` review, `3` search; for five seconds `Z` takes it back. Clearing a HIGH bag asks for
   a reason, and a supervisor (annotator or admin) sees. Where a search was ordered the desk asks what it found (`F`).
4. **Correct** a label with `Enter` (the box in most doubt comes first; `.` the next), a letter or a number, `S`.
   Draw what was missed (drag, or `D` `Enter`, arrows, `Ctrl` arrows, `Enter`), delete what is not there (`Delete`).
   `C` takes the counts from the boxes. Every save is a new revision; the prediction and older revisions stay.
5. One bag in five is kept for testing and is never trained on. The rest trains the next adapter (admins: *Train*).

What the hand search found is the only truth there is about a bag: tell it. With a review required, an annotator
accepts or rejects what somebody else saved.

*Search* finds any scan by label, risk, decision, outcome, day and more; arrow keys go through the pictures, `Enter`
opens one. *Insights* (annotators) shows traffic, corrections, detection and whether the scans still look the same.

*Annotate* (annotators) offers the scans a correction teaches most, with the reason: `T` takes the next one, which is
yours alone while you work. `Y`: the prediction is right. `S` saves and takes the next, `Q` skips with a reason. On
*Review*, `A` accepts somebody else's correction, `R` and a comment and `Enter` reject it, `E` opens it to be amended.
`Z` takes back what you said last, until a run has learned from it. While a reason is due, a refusal stands or somebody
else has saved meanwhile, letters and numbers do nothing, so that a reason typed beside its field decides nothing;
`Escape` puts a refusal away.

`?` lists all keys of every tab. `Shift P` opens the report of a scan on one sheet of A4, to print; `Shift X` cancels
the scans that still wait to be analysed. *Light* and *Dark* in the header are remembered by this browser.
Unsaved edits stay in this browser tab until you save or undo them.

### Test images and blind scans

Where the site has switched them on, a few scans are test images: a threat laid into a clear bag, or a clear bag. They
look like any other and count for nothing else. Once you decide, the desk says hit or miss and frames the threat; sent
to review or search, a bag counts as an alarm. Of blind scans you see what the models say after you have decided; that
first decision stays on record, and you may decide anew. `G` goes on. Your own figures are on *Insights*.

### What the colours and shapes mean

| | |
|---|---|
| octagon, red, **HIGH** | a prohibited item, or an opaque area past the hard limit: search |
| triangle, amber, **MEDIUM** | a restricted item, a doubt, an incomplete answer: review |
| circle, green, **LOW** | nothing found. Only a model validated on this scanner may advise to clear: then with a tick |
| HIGH ✎ nora | a person found more than the models: the worst of both stands, until a second person accepts less |
| solid frame | prohibited; dashed: restricted; dotted: allowed |
| VLM | a box that the VLM placed; the others are the detector's |
| ✎ | drawn or changed by a person |

"demonstration model" means that a bundled model is serving. It was trained on simulated scans alone and is there
to try the desk with. Do not rely on it.
"""
