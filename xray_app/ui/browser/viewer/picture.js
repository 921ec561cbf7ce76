// @ts-check
import { find, shape } from "../dom.js";
import { desk } from "../page_desk.js";

/** @typedef {import("../types.js").WorkScan} WorkScan */

/** The picture of the scan, and whether it is there. */
export class Picture {
  /** @param {import("./viewer.js").Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this.node = find(viewer.svg, "image", SVGImageElement);
    this.loading = find(viewer.element, ".viewer-loading", HTMLElement);
    this.broken = find(viewer.element, ".viewer-broken", HTMLElement);
    /** @type {import("../types.js").PictureState} */
    this.state = null;
  }

  /** A new element for each scan: the browser would keep the old picture in place until the new one is there.
   * @param {WorkScan} scan */
  load({ id, width, height }) {
    const fresh = shape("image", { width, height, preserveAspectRatio: "none", visibility: "hidden" });
    const current = () => fresh === this.node && this.state !== null;
    fresh.addEventListener("load", () => {
      if (!current()) return;
      fresh.removeAttribute("visibility");
      this.is("loaded");
    });
    fresh.addEventListener("error", () => {
      if (current()) this.is("broken");
    });
    this.node.replaceWith(fresh);
    this.node = fresh;
    this.is("loading");
    fresh.setAttribute("href", `../v1/scans/${encodeURIComponent(id)}/image`);
  }

  /** The same scan has come up again. @param {WorkScan} scan */
  again(scan) {
    if (this.state === "loading" || this.state === "loaded") desk.pictureIs(this.state);
    else {
      this.load(scan);
      this.viewer.filters.show();
    }
  }

  clear() {
    this.node.removeAttribute("href");
    this.is(null);
  }

  /** @param {import("../types.js").PictureState} state */
  is(state) {
    this.state = state;
    this.loading.hidden = state !== "loading";
    this.broken.hidden = state !== "broken";
    if (state && this.viewer.work()) desk.pictureIs(state);
  }
}
