// @ts-check
// The values that pass between the server, Gradio and the modules. `Work` and its parts are those of `work.py`, field
// by field: a test holds the two together.

/** @typedef {"prohibited" | "restricted" | "allowed"} Status */
/** @typedef {[number, number, number, number]} Xyxy left, top, right and lower side, in pixels of the scan */

/**
 * A box on the picture.
 * @typedef {object} WorkBox
 * @property {string} id begins with "new-" until it is saved
 * @property {"model" | "vlm" | "human"} source
 * @property {string} label
 * @property {number | null} confidence null where a person drew or changed it
 * @property {Status | "drawing"} status
 * @property {boolean} threat
 * @property {Xyxy} xyxy
 */

/**
 * A row of the items table.
 * @typedef {object} WorkItem
 * @property {string} label
 * @property {number} count
 * @property {number | null} confidence null where a person set the count
 * @property {Status} status
 */

/**
 * A class of the taxonomy.
 * @typedef {object} WorkLabel
 * @property {string} name
 * @property {Status} status
 * @property {string[]} aliases what one may type for it
 */

/**
 * @typedef {object} WorkScan
 * @property {string} id
 * @property {number} width
 * @property {number} height
 * @property {string} filename
 * @property {string | null} view
 */

/**
 * Another view of the bag.
 * @typedef {object} WorkView
 * @property {string} analysis_id
 * @property {string} name
 * @property {string} level
 * @property {WorkScan} scan
 * @property {WorkBox[]} boxes
 */

/**
 * Labels by who named them.
 * @typedef {object} WorkAgreement
 * @property {string[]} both
 * @property {string[]} vlm_only
 * @property {string[]} detector_only
 */

/**
 * Unsaved edits that the server kept.
 * @typedef {object} WorkDraft
 * @property {WorkBox[]} boxes
 * @property {WorkItem[]} items
 */

/**
 * The scan in hand: what the server sent, with the edits made here.
 * @typedef {object} Work
 * @property {string} analysis_id
 * @property {number} base_revision
 * @property {string} user whose unsaved edits may come back
 * @property {string} shown another one at each showing
 * @property {boolean} discard_draft whether unsaved edits of this browser are thrown away
 * @property {number[]} own revisions of this user
 * @property {WorkScan | null} scan
 * @property {WorkBox[]} boxes
 * @property {WorkBox[]} predicted what the models had said, where a correction stands
 * @property {WorkItem[]} items
 * @property {WorkLabel[]} labels in rank order
 * @property {WorkAgreement | null} agreement
 * @property {WorkView[]} views
 * @property {WorkDraft | null} draft
 * @property {boolean} readonly
 * @property {boolean} answered whether a test image is explained
 * @property {string | null} decided the newest decision that is on the screen
 * @property {string | null} open_view the view that was chosen beside the picture
 * @property {number | null} seconds how long the scan has been looked at
 * @property {boolean} dirty whether there are unsaved edits
 */

/**
 * What a key does.
 * @typedef {object} Action
 * @property {(event: KeyboardEvent) => unknown} [run] false: the key was not used
 * @property {string} [help] the line in the list of keys; an alias of another key has none
 * @property {string} [group]
 * @property {string} [shown] how the list names the key
 * @property {boolean} [once] false: repeats while the key is held
 * @property {string} [from] holds while one types into this selector's fields, and only then
 * @property {boolean} [press] the browser itself presses the button in focus
 * @property {boolean} [mouse] of the mouse, for the list alone
 * @property {boolean} [answers] holds while a reason is due: it is about that reason
 */
/** @typedef {Record<string, Action>} Keys */

/**
 * Where keys hold. The first place that is here wins.
 * @typedef {object} Place
 * @property {string} name
 * @property {() => boolean} here
 * @property {() => boolean} [due] whether words are due here, so that letters are theirs
 * @property {Keys} keys
 */

/**
 * What a viewer shows the desk of itself.
 * @typedef {object} Owner
 * @property {Keys} actions its keys
 * @property {() => number} revealBoxes shows what is hidden; how many boxes that were
 */

/** @typedef {"load" | "edit" | "hover" | "threshold" | "alarm" | "intake-done" | "intake-failed"} Change */
/** @typedef {"loading" | "loaded" | "broken" | null} PictureState */

/**
 * What Gradio hands to a component's script.
 * @template Value
 * @typedef {object} Host
 * @property {HTMLElement} element
 * @property {{value: Value | null, max_mb?: number}} props
 * @property {(event: string) => void} trigger
 * @property {(name: string, listener: () => void) => void} watch
 */

export {};
