;; Joins the streams of a module's functions; lib/loaders/streams.js prepares the memory, and crates/xtask/src/streams.rs
;; describes the format. In WebAssembly, because JavaScript takes five times as long until it is optimized.
;; `node tools/join.mjs` writes the module as lib/loaders/join.js.
;;
;; Memory has the immediates of each opcode from 0, the positions of the streams from 4096, the streams, and the module.
(module
  (import "m" "m" (memory 1))

  ;; The position behind the joined part of the module.
  (global $to (mut i32) (i32.const 0))

  ;; Copies `count` bytes of a stream; byte by byte, because they are few.
  (func $bytes (param $stream i32) (param $count i32)
    (local $at i32)
    (local.set $stream (i32.shl (local.get $stream) (i32.const 2)))
    (local.set $at (i32.load offset=4096 (local.get $stream)))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (i32.store8 (global.get $to) (i32.load8_u (local.get $at)))
        (global.set $to (i32.add (global.get $to) (i32.const 1)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.store offset=4096 (local.get $stream) (local.get $at)))

  ;; Copies a number of a stream, and returns it.
  (func $number (param $stream i32) (result i32)
    (local $at i32) (local $byte i32) (local $shift i32) (local $value i32)
    (local.set $stream (i32.shl (local.get $stream) (i32.const 2)))
    (local.set $at (i32.load offset=4096 (local.get $stream)))
    (loop $next
      (local.set $byte (i32.load8_u (local.get $at)))
      (i32.store8 (global.get $to) (local.get $byte))
      (global.set $to (i32.add (global.get $to) (i32.const 1)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (local.set $value
        (i32.or
          (local.get $value)
          (i32.shl (i32.and (local.get $byte) (i32.const 0x7f)) (local.get $shift))))
      (local.set $shift (i32.add (local.get $shift) (i32.const 7)))
      (br_if $next (i32.and (local.get $byte) (i32.const 0x80))))
    (i32.store offset=4096 (local.get $stream) (local.get $at))
    (local.get $value))

  ;; Copies an instruction, and returns by how much it changes the depth of blocks.
  (func $instruction (result i32)
    (local $code i32) (local $opcode i32) (local $kind i32) (local $labels i32)
    (call $bytes (i32.const 0) (i32.const 1))
    (local.set $code (i32.load8_u (i32.sub (global.get $to) (i32.const 1))))
    (local.set $opcode (local.get $code))
    ;; The opcodes behind 0xFC start at 256, those behind 0xFD at 512.
    (if (i32.ge_u (local.get $code) (i32.const 0xfc))
      (then
        (local.set $opcode
          (i32.add
            (i32.shl (i32.sub (local.get $code) (i32.const 0xfb)) (i32.const 8))
            (call $number (i32.const 0))))))
    (local.set $kind (i32.load8_u (local.get $opcode)))
    (if (i32.and (local.get $kind) (i32.const 3))
      (then
        (local.set $labels (call $number (local.get $opcode)))
        (if (i32.and (local.get $kind) (i32.const 2)) (then (drop (call $number (i32.const 1020)))))
        (if (i32.eq (local.get $code) (i32.const 0x0e))
          (then
            (loop $label
              (drop (call $number (local.get $opcode)))
              (local.set $labels (i32.sub (local.get $labels) (i32.const 1)))
              (br_if $label (i32.ge_s (local.get $labels) (i32.const 0))))))))
    (call $bytes (local.get $opcode) (i32.shr_u (local.get $kind) (i32.const 2)))
    (i32.sub
      (i32.lt_u (i32.sub (local.get $code) (i32.const 2)) (i32.const 3))
      (i32.eq (local.get $code) (i32.const 0x0b))))

  ;; Joins the functions from `start` on, and returns the position behind the last one.
  (func (export "j") (param $start i32) (param $functions i32) (result i32)
    (local $depth i32) (local $length i32)
    (loop $function
      ;; Room for the length, which is known afterwards.
      (global.set $to (i32.add (local.get $start) (i32.const 5)))
      (local.set $length (call $number (i32.const 1021)))
      (loop $locals
        (if (local.get $length)
          (then
            (drop (call $number (i32.const 1021)))
            (call $bytes (i32.const 1021) (i32.const 1))
            (local.set $length (i32.sub (local.get $length) (i32.const 1)))
            (br $locals))))
      (local.set $depth (i32.const 1))
      (loop $next
        (local.set $depth (i32.add (local.get $depth) (call $instruction)))
        (br_if $next (local.get $depth)))
      (local.set $length (i32.sub (i32.sub (global.get $to) (local.get $start)) (i32.const 5)))
      (global.set $to (i32.add (local.get $start) (i32.const 5)))
      (local.set $depth (local.get $length))
      (loop $digit
        (i32.store8
          (local.get $start)
          (i32.or
            (i32.and (local.get $depth) (i32.const 0x7f))
            (i32.shl (i32.gt_u (local.get $depth) (i32.const 0x7f)) (i32.const 7))))
        (local.set $start (i32.add (local.get $start) (i32.const 1)))
        (br_if $digit (local.tee $depth (i32.shr_u (local.get $depth) (i32.const 7)))))
      (memory.copy (local.get $start) (global.get $to) (local.get $length))
      (local.set $start (i32.add (local.get $start) (local.get $length)))
      (br_if $function (local.tee $functions (i32.sub (local.get $functions) (i32.const 1)))))
    (local.get $start)))
