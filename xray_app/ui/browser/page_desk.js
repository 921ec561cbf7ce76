// @ts-check
import { say } from "./alarms.js";
import { Desk } from "./desk.js";

/** The desk of this page, which all its parts share. */
export const desk = new Desk({ storage: () => sessionStorage, now: () => performance.now(), say });
